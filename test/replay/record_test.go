package replay_test

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
)

// record makes TestRecord write to testdata. Before the first release it
// replaces what is there; after it, see testdata/README.md.
var record = flag.Bool("record", false, "record every scenario into testdata")

// TestRecord plays scenarios on the product as it is now, and replays what they
// leave behind. Without -record it plays a few and writes nothing, so that the
// recorder does not rot.
func TestRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var chosen []scenario
	for _, s := range scenarios() {
		if *record || s.quick {
			chosen = append(chosen, s)
		}
	}
	if *record {
		dir = folder
	}
	p := startProduct(t, chosen)
	// The group ends before the product does.
	t.Run("scenarios", func(t *testing.T) {
		for _, s := range chosen {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				ids := s.play(&play{T: t, product: p, scene: p.world.scenes[s.name]})
				histories, err := fetch(t.Context(), p.client, s.name, ids)
				require.NoError(t, err)
				for _, h := range histories {
					require.NoError(t, replay(h.History), h.name)
					require.NoError(t, h.save(dir))
				}
			})
		}
	})
}
