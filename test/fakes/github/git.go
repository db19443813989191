package fakegithub

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// UseGit makes a repository keep its commits in a bare repository of Git's in a
// folder, which it creates. The Git database of the API, branches and pull
// requests need one.
func (s *Server) UseGit(full, dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.repo(full)
	p.git = dir
	if _, err := p.ask(nil, nil, "init", "--quiet", "--bare", "--initial-branch=main", dir); err != nil {
		p.git = ""
		return fmt.Errorf("use Git for %q: %w", full, err)
	}
	return nil
}

// Push is a commit to a branch by a person.
type Push struct {
	Branch, Author, Message string
	At                      time.Time
	// Write has contents of files by their path; Delete lists paths.
	Write  map[string]string
	Delete []string
}

// Push commits to a branch and returns the commit's hash.
func (s *Server) Push(full string, push Push) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.repo(full)
	if push.At.IsZero() {
		push.At = s.cfg.Now()
	}
	ref := "refs/heads/" + push.Branch
	var stream bytes.Buffer
	data := func(text string) { fmt.Fprintf(&stream, "data %d\n%s\n", len(text), text) }
	fmt.Fprintf(&stream, "commit %s\ncommitter %s <%s> %d +0000\n", ref, push.Author, address(push.Author), push.At.Unix())
	data(push.Message)
	if _, there := p.resolve(push.Branch); there {
		fmt.Fprintf(&stream, "from %s^0\n", ref)
	}
	for path, content := range push.Write {
		fmt.Fprintf(&stream, "M 100644 inline %s\n", path)
		data(content)
	}
	for _, path := range push.Delete {
		fmt.Fprintf(&stream, "D %s\n", path)
	}
	if _, err := p.ask(stream.Bytes(), nil, "fast-import", "--quiet"); err != nil {
		return "", fmt.Errorf("push to %q of %q: %w", push.Branch, full, err)
	}
	hash, _ := p.resolve(push.Branch)
	return hash, nil
}

// File returns a file of a branch; it reports false when there is none.
func (s *Server) File(full, branch, path string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, err := s.repo(full).ask(nil, nil, "cat-file", "blob", "refs/heads/"+branch+":"+path)
	return content, err == nil
}

// History returns the commits that changed a branch itself, newest first.
func (s *Server) History(full, branch string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, err := s.repo(full).ask(nil, nil, "rev-list", "--first-parent", "refs/heads/"+branch)
	if err != nil {
		return nil
	}
	return strings.Fields(out)
}

// address is the mail address of a login.
func address(login string) string { return login + "@users.noreply.example.com" }

// ask runs Git on the repository and returns what it printed.
func (p *repo) ask(stdin []byte, env []string, args ...string) (string, error) {
	if p.git == "" {
		return "", fmt.Errorf("run Git on %s/%s: it has none", p.owner, p.name)
	}
	cmd := exec.CommandContext(context.Background(), "git", append([]string{"--git-dir", p.git}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.git, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C"}, env...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// lookUp finds the commit of a branch, tag or full hash.
func (p *repo) lookUp(ref string) (string, bool) {
	candidates := []string{"refs/heads/" + ref, "refs/tags/" + ref}
	if sha.MatchString(ref) {
		candidates = []string{ref}
	}
	if ref == "HEAD" {
		candidates = []string{"refs/heads/main"}
	}
	for _, c := range candidates {
		if out, err := p.ask(nil, nil, "rev-parse", "--verify", "--quiet", c+"^{commit}"); err == nil {
			return strings.TrimSpace(out), true
		}
	}
	return "", false
}

// gitCommit is a commit as Git has it.
type gitCommit struct {
	hash, tree string
	parents    []string
	author     string
	committer  string
	authored   time.Time
	committed  time.Time
	message    string
}

// commitFormat separates the fields of a commit by the unit separator and
// commits by the record separator.
const commitFormat = "--format=%H%x1f%T%x1f%P%x1f%an%x1f%cn%x1f%at%x1f%ct%x1f%B%x1e"

// log reads commits that can be reached from one, newest first; none limits
// them to that one.
func (p *repo) log(from string, args ...string) ([]gitCommit, error) {
	out, err := p.ask(nil, nil, append([]string{"log", commitFormat}, append(args, from)...)...)
	if err != nil {
		return nil, err
	}
	var found []gitCommit
	for record := range strings.SplitSeq(out, "\x1e") {
		f := strings.Split(strings.TrimLeft(record, "\n"), "\x1f")
		if len(f) != 8 {
			continue
		}
		found = append(found, gitCommit{
			hash: f[0], tree: f[1], parents: strings.Fields(f[2]), author: f[3], committer: f[4],
			authored: unix(f[5]), committed: unix(f[6]), message: strings.TrimRight(f[7], "\n"),
		})
	}
	return found, nil
}

func unix(text string) time.Time {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// one reads a single commit.
func (p *repo) one(hash string) (gitCommit, bool) {
	found, err := p.log(hash, "-1")
	if err != nil || len(found) != 1 {
		return gitCommit{}, false
	}
	return found[0], true
}

// stats counts the lines that a commit added to and removed from its first
// parent, and lists its files.
func (p *repo) stats(c gitCommit) (added, removed int, files []string) {
	base := "4b825dc642cb6eb9a060e54bf8d69288fbee4904" // The empty tree.
	if len(c.parents) > 0 {
		base = c.parents[0]
	}
	out, err := p.ask(nil, nil, "diff-tree", "-r", "--numstat", base, c.hash)
	if err != nil {
		return 0, 0, nil
	}
	for row := range strings.Lines(out) {
		f := strings.SplitN(strings.TrimSpace(row), "\t", 3)
		if len(f) == 3 {
			added, removed, files = added+whole(f[0]), removed+whole(f[1]), append(files, f[2])
		}
	}
	return added, removed, files
}

func whole(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0 // A binary file has no lines.
	}
	return n
}

// ancestor reports whether a commit can be reached from another.
func (p *repo) ancestor(old, young string) bool {
	_, err := p.ask(nil, nil, "merge-base", "--is-ancestor", old, young)
	return err == nil
}

// writeTree makes a tree of another one and changes to it, in the form of
// git update-index --index-info.
func (p *repo) writeTree(base string, changes []byte) (string, error) {
	dir, err := os.MkdirTemp(p.git, "index")
	if err != nil {
		return "", fmt.Errorf("make a folder for an index: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // It goes with the repository.
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index")}
	if base != "" {
		if _, err := p.ask(nil, env, "read-tree", base); err != nil {
			return "", err
		}
	}
	if _, err := p.ask(changes, env, "update-index", "--index-info"); err != nil {
		return "", err
	}
	out, err := p.ask(nil, env, "write-tree")
	return strings.TrimSpace(out), err
}

// writeCommit makes a commit.
func (p *repo) writeCommit(tree, message, who string, at time.Time, parents ...string) (string, error) {
	when := fmt.Sprintf("%d +0000", at.Unix())
	env := []string{
		"GIT_AUTHOR_NAME=" + who, "GIT_AUTHOR_EMAIL=" + address(who), "GIT_AUTHOR_DATE=" + when,
		"GIT_COMMITTER_NAME=" + who, "GIT_COMMITTER_EMAIL=" + address(who), "GIT_COMMITTER_DATE=" + when,
	}
	args := []string{"commit-tree", tree}
	for _, parent := range parents {
		args = append(args, "-p", parent)
	}
	out, err := p.ask([]byte(message), env, args...)
	return strings.TrimSpace(out), err
}
