package ledger_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/ledger"
)

var spellings = []string{
	"", "plain", "ümläut", "line\nfeed\tand tab", "\x1b[31mred\x1b[0m", "\u009b31m", "left\u202eright", "zero\u200bwidth", "\r\n", "\u2028",
	`\u202e`, `\u005c`, `\u005cu202e`, `\\u202e`, `\u202`, `\u`, `\`, `\u202E`, "\\u202e\u202e", "\\\u202e", "=1+1", "'=1+1", "''", "'", "@x", "+1", "-1",
	"|cmd", "%0a", "\t=1", "\n=1", "＝1", "emoji 🎉", "\U000e0041", `\udb40\udc41`, "\\udb40\U000e0041", `\udb40`, `\udb40\u202e`,
}

// FuzzSpelling: nothing that a terminal or spreadsheet acts on is left, and
// everything comes back.
func FuzzSpelling(f *testing.F) {
	for _, s := range spellings {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		spelled := ledger.Spell(s)
		require.Equal(t, s, ledger.Unspell(spelled))
		for _, r := range spelled {
			require.False(t, unicode.IsControl(r) && r != '\n' && r != '\t', "%q has %U", spelled, r)
			require.False(t, unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp), "%q has %U", spelled, r)
		}
		cell := ledger.Inert(s)
		require.Equal(t, s, ledger.Uninert(cell))
		require.False(t, cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])), "%q is a formula", cell)
	})
}
