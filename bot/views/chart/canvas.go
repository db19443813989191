package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"image/png"
	"strings"
	"sync"

	"codeberg.org/go-fonts/liberation/liberationsansbold"
	"codeberg.org/go-fonts/liberation/liberationsansregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/bidi"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
)

// dotsPerInch makes a point of the drawing library a pixel.
const dotsPerInch = 72

// weight is how heavy text is.
type weight int

const (
	regular weight = iota
	bold
)

// fonts are parsed once. Liberation Sans has Latin, Greek, Cyrillic and Hebrew.
var fonts = sync.OnceValues(func() (out [2]*opentype.Font, err error) {
	for i, ttf := range [][]byte{regular: liberationsansregular.TTF, bold: liberationsansbold.TTF} {
		if out[i], err = opentype.Parse(ttf); err != nil {
			return out, fmt.Errorf("parse font: %w", err)
		}
	}
	return out, nil
})

// canvas is a picture in pixels, from its top left corner.
type canvas struct {
	img           *vgimg.Canvas
	width, height float64
	fonts         [2]*opentype.Font
	// texts are where text stands so far.
	texts []textBox
}

// textBox is a text and the rectangle that its letters fill, y from the top down.
type textBox struct {
	text           string
	x0, y0, x1, y1 float64
}

// touches reports whether two rectangles have a point in common.
func (b textBox) touches(other textBox) bool {
	return b.x0 < other.x1 && other.x0 < b.x1 && b.y0 < other.y1 && other.y0 < b.y1
}

// The reach of letters above and below their baseline, in parts of their size.
const (
	ascent  = 0.74
	descent = 0.22
)

// boxOf is the rectangle of a text.
func (c *canvas) boxOf(text string, x, y, size float64, w weight, align float64) textBox {
	width := c.textWidth(text, size, w)
	left := x - align*width
	return textBox{text: text, x0: left, y0: y - ascent*size, x1: left + width, y1: y + descent*size}
}

func newCanvas(width, height float64, paper color.Color) (*canvas, error) {
	parsed, err := fonts()
	if err != nil {
		return nil, err
	}
	img := vgimg.NewWith(vgimg.UseWH(vg.Length(width), vg.Length(height)), vgimg.UseDPI(dotsPerInch), vgimg.UseBackgroundColor(paper))
	return &canvas{img: img, width: width, height: height, fonts: parsed}, nil
}

// encode is the picture as PNG.
func (c *canvas) encode() ([]byte, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, c.img.Image()); err != nil {
		return nil, fmt.Errorf("encode picture: %w", err)
	}
	return b.Bytes(), nil
}

type dot struct{ x, y float64 }

func (c *canvas) at(p dot) vg.Point { return vg.Point{X: vg.Length(p.x), Y: vg.Length(c.height - p.y)} }

// box fills a rectangle.
func (c *canvas) box(x0, y0, x1, y1 float64, fill color.Color) {
	c.shape(fill, dot{x0, y0}, dot{x1, y0}, dot{x1, y1}, dot{x0, y1})
}

func (c *canvas) shape(fill color.Color, corners ...dot) {
	var p vg.Path
	p.Move(c.at(corners[0]))
	for _, d := range corners[1:] {
		p.Line(c.at(d))
	}
	p.Close()
	c.img.SetColor(fill)
	c.img.Fill(p)
}

// stroke draws a line through dots; dashes are lengths on and off.
func (c *canvas) stroke(ink color.Color, width float64, dashes []vg.Length, dots ...dot) {
	var p vg.Path
	p.Move(c.at(dots[0]))
	for _, d := range dots[1:] {
		p.Line(c.at(d))
	}
	c.img.SetColor(ink)
	c.img.SetLineWidth(vg.Length(width))
	c.img.SetLineDash(dashes, 0)
	c.img.Stroke(p)
	c.img.SetLineDash(nil, 0)
}

func (c *canvas) face(size float64, w weight) font.Face {
	return font.Face{Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Length(size)}, Face: c.fonts[w]}
}

// textWidth is how wide text is in pixels.
func (c *canvas) textWidth(text string, size float64, w weight) float64 {
	face := c.face(size, w)
	return float64(face.Width(c.known(text, w)))
}

// text writes on a baseline: to the right of x for an align of 0, around it for
// 0.5, to the left of it for 1.
func (c *canvas) text(text string, x, y, size float64, w weight, ink color.Color, align float64) {
	if text == "" {
		return
	}
	box := c.boxOf(text, x, y, size, w, align)
	c.texts = append(c.texts, box)
	at := c.at(dot{box.x0, y})
	c.img.SetColor(ink)
	c.img.FillString(c.face(size, w), at, c.known(text, w))
}

// label is text on a patch of paper, so that lines behind it do not cross it out.
func (c *canvas) label(text string, x, y, size float64, w weight, ink, paper color.Color, align float64) {
	width := c.textWidth(text, size, w)
	left := x - align*width
	c.box(left-6, y-0.85*size, left+width+6, y+0.28*size, paper)
	c.text(text, x, y, size, w, ink, align)
}

// fit cuts text until it is at most width pixels wide.
func (c *canvas) fit(text string, width, size float64, w weight) string {
	if c.textWidth(text, size, w) <= width {
		return text
	}
	runes := []rune(text)
	low, high := 0, len(runes)
	for low < high {
		if mid := (low + high + 1) / 2; c.textWidth(string(runes[:mid])+"…", size, w) <= width {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return strings.TrimRight(string(runes[:low]), " ,;:.") + "…"
}

// wrap breaks text into at most lines lines of at most width pixels.
func (c *canvas) wrap(text string, width, size float64, w weight, lines int) []string {
	var out []string
	words := strings.Fields(text)
	for len(words) > 0 && len(out) < lines {
		if len(out) == lines-1 {
			return append(out, c.fit(strings.Join(words, " "), width, size, w))
		}
		n := 1
		for n < len(words) && c.textWidth(strings.Join(words[:n+1], " "), size, w) <= width {
			n++
		}
		out = append(out, c.fit(strings.Join(words[:n], " "), width, size, w))
		words = words[n:]
	}
	return out
}

// known is text in the order in which it is read from left to right. What the font
// can not show is a question mark, a run of it is one.
func (c *canvas) known(text string, w weight) string {
	text = visual(text)
	var buf sfnt.Buffer
	var b strings.Builder
	missing := false
	for _, r := range text {
		if i, err := c.fonts[w].GlyphIndex(&buf, r); err == nil && i != 0 {
			b.WriteRune(r)
			missing = false
		} else if !missing {
			b.WriteByte('?')
			missing = true
		}
	}
	return b.String()
}

// visual is text in the order of its pixels: what is written from right to left is
// turned round.
func visual(text string) string {
	if !strings.ContainsFunc(text, rightToLeft) {
		return text
	}
	var p bidi.Paragraph
	if _, err := p.SetString(text, bidi.DefaultDirection(bidi.LeftToRight)); err != nil {
		return text
	}
	order, err := p.Order()
	if err != nil {
		return text
	}
	var b strings.Builder
	for i := range order.NumRuns() {
		run := order.Run(i)
		if run.Direction() == bidi.RightToLeft {
			b.WriteString(bidi.ReverseString(run.String()))
		} else {
			b.WriteString(run.String())
		}
	}
	return b.String()
}

func rightToLeft(r rune) bool {
	properties, _ := bidi.LookupRune(r)
	class := properties.Class()
	return class == bidi.R || class == bidi.AL
}
