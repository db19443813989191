package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
)

// screenshot is what Sam looks at: the share of orders that fail, by how many items
// they have, as bars. It stands in for what people paste into a channel.
func screenshot() ([]byte, error) {
	const (
		width, height = 480, 220
		floor, left   = 190, 40
		bar, gap      = 48, 24
	)
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	fill := func(x0, y0, x1, y1 int, c color.Color) {
		draw.Draw(picture, image.Rect(x0, y0, x1, y1), image.NewUniform(c), image.Point{}, draw.Src)
	}
	fill(0, 0, width, height, color.White)
	for y := 40; y < floor; y += 50 {
		fill(left-8, y, width-20, y+1, color.Gray{Y: 0xdd})
	}
	for i, share := range []int{2, 3, 2, 118, 131, 140} {
		c := color.RGBA{R: 0x1f, G: 0x77, B: 0x9c, A: 0xff}
		if share > 10 {
			c = color.RGBA{R: 0xc0, G: 0x39, B: 0x2b, A: 0xff}
		}
		x := left + i*(bar+gap)
		fill(x, floor-share, x+bar, floor, c)
	}
	fill(left-8, floor, width-20, floor+2, color.Gray{Y: 0x55})
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		return nil, fmt.Errorf("draw screenshot: %w", err)
	}
	return out.Bytes(), nil
}
