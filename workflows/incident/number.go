package incident

import (
	"math"
	"strconv"
)

// Number is a number as people read it, with so many significant digits, or more
// where it is a whole number: never with an exponent that a person would have to work
// out.
func Number(v float64, digits int) string {
	if abs := math.Abs(v); abs >= 1e9 || (abs != 0 && abs < 1e-4) || math.IsNaN(v) {
		return strconv.FormatFloat(v, 'g', digits, 64)
	}
	if math.Abs(v) >= math.Pow10(digits-1) {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil {
		return strconv.FormatFloat(v, 'g', digits, 64)
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}
