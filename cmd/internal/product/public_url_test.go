package product

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnlinked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, url, api string
		noToken        bool
		want           bool
	}{
		{name: "the default", url: "http://127.0.0.1:8420", want: true},
		{name: "github.com by name", url: "http://127.0.0.1:8420", api: "https://api.github.com/", want: true},
		{name: "localhost", url: "https://LocalHost.:8420", want: true},
		{name: "below localhost", url: "http://backout.localhost", want: true},
		{name: "IPv6", url: "http://[::1]:8420", want: true},
		{name: "IPv4 in IPv6", url: "http://[::ffff:127.0.0.1]:8420", want: true},
		{name: "every address", url: "http://0.0.0.0:8420", want: true},
		{name: "no host", url: "http://:8420", want: true},
		{name: "a public name", url: "https://backout.example.com"},
		{name: "a private address", url: "http://10.1.2.3:8420"},
		{name: "a name that only looks like it", url: "https://localhost.example.com"},
		{name: "GitHub of one's own", url: "http://127.0.0.1:8420", api: "http://127.0.0.1:9000"},
		{name: "no GitHub", url: "http://127.0.0.1:8420", noToken: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := Config{URL: test.url, GitHub: GitHubConfig{TokenFile: "token", APIURL: test.api}}
			if test.noToken {
				c.GitHub.TokenFile = ""
			}
			said := unlinked(c)
			require.Equal(t, test.want, said != "", said)
			if test.want {
				require.Contains(t, said, "set url to the address at which browsers reach Backout")
			}
		})
	}
}
