package shop

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOrdersGoThroughAllServices(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })

	_, err = s.Buy(t.Context())
	require.Error(t, err, "without a release the shop must not answer")

	for _, name := range Names() {
		s.Service(name).Release(GoodRelease)
	}
	for range 50 {
		_, err := s.Buy(t.Context())
		require.NoError(t, err)
	}
}

func TestBadReleaseFailsBigOrdersOnly(t *testing.T) {
	t.Parallel()
	for items := 1; items <= 6; items++ {
		total, err := priceWithDiscounts(Order{ID: 1, Items: items, Cents: 100})
		if items <= 4 {
			require.NoError(t, err)
			require.LessOrEqual(t, total, items*100)
		} else {
			require.Error(t, err)
		}
	}
}

func TestReleaseChangesTheNextRequest(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	for _, name := range Names() {
		s.Service(name).Release(GoodRelease)
	}
	s.Service(Checkout).Release(BadRelease)
	failed := 0
	for range 200 {
		if _, err := s.Buy(t.Context()); err != nil {
			failed++
		}
	}
	require.Greater(t, failed, 20, "a third of the orders should fail")
	require.Less(t, failed, 130)
}
