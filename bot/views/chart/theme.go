package chart

import "image/color"

// Theme is the surface that a picture is for. The zero value is invalid.
type Theme int

// The themes.
const (
	Light Theme = iota + 1
	Dark
)

// palette are the colours of a theme. Blue, orange and green are those of Okabe
// and Ito, which people who see fewer colours tell apart.
// Source: https://jfly.uni-koeln.de/color/
type palette struct {
	paper, ink, muted, grid color.NRGBA
	line, bound             color.NRGBA
	// before, during and after tint the stretches of time; usual is the band of
	// what was usual before the change.
	before, during, after, usual color.NRGBA
	good, bad, unsure            color.NRGBA
	// others are further series of a query that should have yielded one.
	others color.NRGBA
}

func (t Theme) palette() (palette, bool) {
	switch t {
	case Light:
		return palette{
			paper: rgb(0xffffff), ink: rgb(0x16191d), muted: rgb(0x4d5660), grid: rgb(0xdfe3e8),
			line: rgb(0x0062a3), bound: rgb(0xb84a00), others: rgb(0x7a8590),
			before: tint(0x0072b2, 26), during: tint(0xd55e00, 34), after: tint(0x009e73, 30), usual: tint(0x0072b2, 40),
			good: rgb(0x00795a), bad: rgb(0xb84a00), unsure: rgb(0x5b6570),
		}, true
	case Dark:
		return palette{
			paper: rgb(0x15181c), ink: rgb(0xf0f3f6), muted: rgb(0xabb4be), grid: rgb(0x343a41),
			line: rgb(0x6cc3f2), bound: rgb(0xf5a742), others: rgb(0x7d8893),
			before: tint(0x56b4e9, 34), during: tint(0xd55e00, 66), after: tint(0x009e73, 56), usual: tint(0x56b4e9, 56),
			good: rgb(0x2fc79b), bad: rgb(0xf08a4b), unsure: rgb(0x9aa4ae),
		}, true
	default:
		return palette{}, false
	}
}

func rgb(hex uint32) color.NRGBA { return tint(hex, 0xff) }

func tint(hex uint32, alpha uint8) color.NRGBA {
	return color.NRGBA{R: uint8(hex >> 16 & 0xff), G: uint8(hex >> 8 & 0xff), B: uint8(hex & 0xff), A: alpha}
}
