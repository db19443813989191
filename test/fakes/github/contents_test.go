package fakegithub_test

import (
	"testing"

	"github.com/google/go-github/v60/github"
	"github.com/stretchr/testify/require"

	fakegithub "github.com/backout/backout/test/fakes/github"
)

func TestRealClientContents(t *testing.T) {
	t.Parallel()
	s := start(t, fakegithub.Config{})
	require.NoError(t, s.UseGit(repo, t.TempDir()))
	_, err := s.Push(repo, fakegithub.Push{Branch: "main", Author: "ada", Message: "One", Write: map[string]string{"a": "b"}})
	require.NoError(t, err)
	c, ctx := client(t, s), t.Context()
	put := func(path string, o github.RepositoryContentFileOptions) (*github.RepositoryContentResponse, int) {
		o.Message = new("write")
		out, resp, _ := c.Repositories.CreateFile(ctx, "acme", "shop", path, &o)
		return out, resp.StatusCode
	}

	made, status := put("dir/x.png", github.RepositoryContentFileOptions{Content: []byte{0, 0xff, '\n'}})
	require.Equal(t, 201, status)
	file, _, _, err := c.Repositories.GetContents(ctx, "acme", "shop", "dir/x.png", &github.RepositoryContentGetOptions{Ref: "main"})
	require.NoError(t, err)
	content, err := file.GetContent()
	require.NoError(t, err)
	require.Equal(t, "\x00\xff\n", content)
	require.Equal(t, made.Content.GetSHA(), file.GetSHA())
	require.Len(t, s.History(repo, "main"), 2)

	for _, tt := range []struct {
		name, path string
		opts       github.RepositoryContentFileOptions
		status     int
	}{
		{"it is there", "dir/x.png", github.RepositoryContentFileOptions{Content: []byte("y")}, 422},
		{"another was there", "dir/x.png", github.RepositoryContentFileOptions{Content: []byte("y"), SHA: new("0000000000000000000000000000000000000000")}, 409},
		{"none was there", "new", github.RepositoryContentFileOptions{Content: []byte("y"), SHA: file.SHA}, 409},
		{"no branch", "new", github.RepositoryContentFileOptions{Content: []byte("y"), Branch: new("nowhere")}, 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, status := put(tt.path, tt.opts)
			require.Equal(t, tt.status, status)
		})
	}
	_, status = put("dir/x.png", github.RepositoryContentFileOptions{Content: []byte("y"), SHA: file.SHA})
	require.Equal(t, 200, status)
	require.Len(t, s.History(repo, "main"), 3)
	_, _, resp, err := c.Repositories.GetContents(ctx, "acme", "shop", "dir", nil)
	require.Error(t, err)
	require.Equal(t, 404, resp.StatusCode)
}
