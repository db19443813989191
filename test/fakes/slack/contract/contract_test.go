package contract_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/fakes/slack/contract"
)

func TestFacts(t *testing.T) {
	t.Parallel()
	post, ok := contract.Lookup("chat.postMessage")
	require.True(t, ok)
	require.Equal(t, "POST", post.HTTP)
	require.True(t, post.JSON)
	require.Equal(t, 5, post.Tier)
	require.Equal(t, []string{"chat:write"}, post.Scopes)
	require.True(t, post.Args["channel"].Required)
	require.False(t, post.Args["text"].Required)
	require.Equal(t, []string{"boolean"}, post.Args["unfurl_links"].Types)
	require.Contains(t, post.Errors, "not_in_channel")
	update, _ := contract.Lookup("chat.update")
	require.Contains(t, update.Errors, "edit_window_closed")
	_, ok = contract.Lookup("chat.shout")
	require.False(t, ok)
}

// TestNoProse keeps sentences of the reference out of the repository.
func TestNoProse(t *testing.T) {
	t.Parallel()
	word := regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)
	names := contract.Names()
	require.NotEmpty(t, names)
	require.True(t, slices.IsSorted(names))
	for _, name := range names {
		m, ok := contract.Lookup(name)
		require.True(t, ok)
		require.Contains(t, []string{"GET", "POST"}, m.HTTP, name)
		require.Contains(t, []int{1, 2, 3, 4, 5}, m.Tier, name)
		for _, facts := range [][]string{{name}, m.Scopes, m.Errors} {
			for _, fact := range facts {
				require.Regexp(t, word, fact)
			}
		}
		for arg, facts := range m.Args {
			require.Regexp(t, word, arg)
			require.NotEqual(t, "token", arg)
			require.Subset(t, []string{"array", "boolean", "integer", "null", "number", "object", "string"}, facts.Types)
		}
	}
}
