package chart

import "image/color"

// flag is the label of a mark: it stands beside the mark's line, in a row of its own
// where it would touch another flag or be crossed by another line.
type flag struct {
	x     float64
	text  string
	width float64
	ink   color.NRGBA
	// row counts from the top; left says that the text is to the left of the line.
	row  int
	left bool
}

// flagGap is the least room beside a flag, in pixels.
const flagGap = 16

// extent is from where to where the text of a flag goes.
func (f flag) extent() (x0, x1 float64) {
	if f.left {
		return f.x - f.width, f.x + flagGap
	}
	return f.x - flagGap, f.x + f.width
}

// hoist gives each flag its row and side in as few rows as possible, between two
// edges, and returns how many rows there are.
func hoist(flags []flag, x0, x1 float64) int {
	if len(flags) == 0 {
		return 0
	}
	for rows := 1; rows < len(flags); rows++ {
		if hoistInto(flags, 0, rows, x0, x1) {
			return rows
		}
	}
	// One row each always does: a line crosses only the rows below its own.
	if !hoistInto(flags, 0, len(flags), x0, x1) {
		for i := range flags {
			flags[i].row, flags[i].left = i, false
		}
	}
	return len(flags)
}

// hoistInto places the flags from the n-th on, and reports whether they fit.
func hoistInto(flags []flag, n, rows int, x0, x1 float64) bool {
	if n == len(flags) {
		return true
	}
	f := &flags[n]
	for row := range rows {
		for _, left := range []bool{false, true} {
			f.row, f.left = row, left
			if from, to := f.extent(); from < x0-flagGap || to > x1+flagGap {
				continue
			}
			free := true
			for _, other := range flags[:n] {
				free = free && !touch(*f, other)
			}
			if free && hoistInto(flags, n+1, rows, x0, x1) {
				return true
			}
		}
	}
	return false
}

// touch reports whether two flags overlap, or one's line crosses the other's text.
func touch(a, b flag) bool {
	a0, a1 := a.extent()
	b0, b1 := b.extent()
	if a.row == b.row {
		return a0 < b1 && b0 < a1
	}
	if a.row > b.row {
		a, b = b, a
	}
	// a stands higher, so that its line goes down past b, and may touch b's line but
	// not its text.
	if b.left {
		return b0 < a.x && a.x < b.x-1
	}
	return b.x+1 < a.x && a.x < b.x+b.width
}
