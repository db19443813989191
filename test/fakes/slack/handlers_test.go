package fakeslack

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/fakes/slack/contract"
)

// TestEveryHandlerHasAContract keeps a method from being done without being checked.
func TestEveryHandlerHasAContract(t *testing.T) {
	t.Parallel()
	for name := range handlers {
		_, known := contract.Lookup(name)
		require.True(t, known, name)
	}
}

func TestTimestampsNeverRepeat(t *testing.T) {
	t.Parallel()
	opts := Options{}.withDefaults()
	w := newWorld(opts)
	now := opts.Now()
	last := ""
	for range 100 {
		ts := w.timestamp(now)
		require.True(t, last == "" || before(last, ts), "%s is not before %s", last, ts)
		last = ts
	}
	require.True(t, before("9.9", "10.1"))
	require.False(t, before("10", "10.000000"))
}

func TestPaginate(t *testing.T) {
	t.Parallel()
	items := []int{1, 2, 3, 4, 5}
	page := func(limit, cursor string) ([]int, string, *refusal) {
		args := arguments{"limit": {form: limit}}
		if cursor != "" {
			args["cursor"] = argument{form: cursor}
		}
		return paginate(items, args)
	}
	var seen []int
	cursor := ""
	for {
		part, next, refused := page("2", cursor)
		require.Nil(t, refused)
		seen = append(seen, part...)
		if next == "" {
			break
		}
		cursor = next
	}
	require.Equal(t, items, seen)
	_, _, refused := page("2", "next:-1")
	require.Equal(t, "invalid_cursor", refused.code)
	_, _, refused = page("1001", "")
	require.Equal(t, "invalid_limit", refused.code)
}
