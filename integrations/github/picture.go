package github

import (
	"context"
	"crypto/sha1" //nolint:gosec // It is Git's name of the content and protects nothing.
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// ChartsBranch is the branch of the postmortem repository that holds charts and
// nothing else. It shares no history with any other.
const ChartsBranch = "backout-charts"

// maxPicture is the largest picture that is kept, in bytes. It is Backout's own and
// below the megabyte up to which GitHub gives the content of a file.
// Source: https://docs.github.com/rest/repos/contents#get-repository-content.
const maxPicture = 1 << 20

// chartsReadme says what the branch is, to who comes across it.
const chartsReadme = "# Charts\n\nPictures of the postmortems in this repository's issues, written by Backout. Nothing else is on this branch.\n"

// endings are the pictures that are kept, by what their first bytes say, with how the
// names of their files end. What can carry a program, such as SVG, is none of them.
// Source: https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern
var endings = map[string]string{"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}

// Keeps reports whether pictures are put into the repository.
func (t *Tracker) Keeps() bool { return t.charts }

// Picture puts a PNG, JPEG, GIF or WebP into the repository, on ChartsBranch under its
// own digest, and returns the address at which an issue of the repository shows it to
// whoever may see the issue. It is put there once. Empty without an error means that
// charts are turned off.
func (t *Tracker) Picture(ctx context.Context, key string, picture []byte) (address string, err error) {
	if !t.charts {
		return "", nil
	}
	if err := checkKey(key); err != nil {
		return "", fmt.Errorf("put picture: %w: %w", driver.ErrInvalid, err)
	}
	if len(picture) == 0 || len(picture) > maxPicture {
		return "", fmt.Errorf("put picture of %q: %w: it has %d bytes, and 1 to %d can be kept", key, driver.ErrInvalid, len(picture), maxPicture)
	}
	ending, is := endings[http.DetectContentType(picture)]
	if !is {
		return "", fmt.Errorf("put picture of %q: %w: it is neither PNG, JPEG, GIF nor WebP", key, driver.ErrInvalid)
	}
	name := strings.TrimPrefix(incident.DigestOf(picture), "sha256:")
	// No part of the path has a dot of the key's, which may be nothing but dots.
	path := "charts/" + strings.NewReplacer("/", "-", ".", "_").Replace(key) + "/" + name + ending
	found, err := t.pictured(ctx, path)
	if err != nil {
		return "", err
	}
	if found == nil || found.GetSHA() != blobHash(picture) {
		if err := t.chartsBranch(ctx); err != nil {
			return "", err
		}
		if found, err = t.putPicture(ctx, path, picture, found); err != nil {
			return "", err
		}
	}
	if found.GetHTMLURL() == "" {
		return "", fmt.Errorf("put picture of %q: the answer has no address", key)
	}
	return found.GetHTMLURL() + "?raw=true", nil
}

// pictured is the file that is there, or nil.
func (t *Tracker) pictured(ctx context.Context, path string) (*gh.RepositoryContent, error) {
	file, _, resp, err := t.conn.api.Repositories.GetContents(ctx, t.owner, t.name, path, &gh.RepositoryContentGetOptions{Ref: ChartsBranch})
	if resp != nil && resp.StatusCode == http.StatusNotFound {
		return nil, nil //nolint:nilnil // There is none, which is no error.
	}
	return file, t.conn.classify(ctx, fmt.Sprintf("read picture %q of %s/%s", path, t.owner, t.name), resp, err)
}

func (t *Tracker) putPicture(ctx context.Context, path string, picture []byte, was *gh.RepositoryContent) (*gh.RepositoryContent, error) {
	o := &gh.RepositoryContentFileOptions{Message: new("Add a picture"), Content: picture, Branch: new(ChartsBranch)}
	if was != nil {
		o.SHA = was.SHA
	}
	put, resp, err := t.conn.api.Repositories.CreateFile(ctx, t.owner, t.name, path, o)
	if err == nil {
		return put.Content, nil
	}
	err = t.conn.classify(ctx, fmt.Sprintf("put picture %q into %s/%s", path, t.owner, t.name), resp, err)
	// Somebody else may have put it there meanwhile, or an attempt whose answer was
	// lost.
	if found, again := t.pictured(ctx, path); again == nil && found != nil && found.GetSHA() == blobHash(picture) {
		return found, nil
	}
	return nil, err
}

// chartsBranch makes the branch if there is none: a commit without parents, so that
// the pictures stay apart from everything else.
func (t *Tracker) chartsBranch(ctx context.Context) error {
	ref := "heads/" + ChartsBranch
	what := fmt.Sprintf("make branch %q of %s/%s", ChartsBranch, t.owner, t.name)
	_, resp, err := t.conn.api.Git.GetRef(ctx, t.owner, t.name, ref)
	if err == nil {
		return nil
	}
	if resp == nil || resp.StatusCode != http.StatusNotFound {
		return t.conn.classify(ctx, what, resp, err)
	}
	tree, resp, err := t.conn.api.Git.CreateTree(ctx, t.owner, t.name, "", []*gh.TreeEntry{{
		Path: new("README.md"), Mode: new("100644"), Type: new("blob"), Content: new(chartsReadme),
	}})
	if err != nil {
		return t.conn.classify(ctx, what, resp, err)
	}
	commit, resp, err := t.conn.api.Git.CreateCommit(ctx, t.owner, t.name, &gh.Commit{Message: new("Keep the charts of postmortems here"), Tree: tree}, nil)
	if err != nil {
		return t.conn.classify(ctx, what, resp, err)
	}
	_, resp, err = t.conn.api.Git.CreateRef(ctx, t.owner, t.name, &gh.Reference{Ref: new("refs/" + ref), Object: &gh.GitObject{SHA: commit.SHA}})
	if err == nil {
		return nil
	}
	// Another worker may have been faster.
	if _, _, again := t.conn.api.Git.GetRef(ctx, t.owner, t.name, ref); again == nil {
		return nil
	}
	return t.conn.classify(ctx, what, resp, err)
}

// blobHash is the name that Git gives content.
func blobHash(content []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...)) //nolint:gosec // It is Git's name of the content and protects nothing.
	return hex.EncodeToString(sum[:])
}
