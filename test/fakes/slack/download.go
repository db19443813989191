package fakeslack

import (
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
)

// Where the app gets files, and where it is sent who may not have one.
// Source: https://docs.slack.dev/reference/objects/file-object
const (
	privateFiles = "/files-pri/"
	signIn       = "/signin"
)

// signInPage is what everybody gets who may not have a file: a page, with status 200.
const signInPage = `<!DOCTYPE html><html lang="en"><head><title>Sign in to Slack</title></head><body><form><input name="email"></form></body></html>`

// share keeps the files of a person's message. The caller holds the lock.
func (s *Server) share(user string, files []File) []File {
	files = slices.Clone(files)
	for i := range files {
		f := &files[i]
		if f.Content == nil {
			continue
		}
		if f.ID == "" {
			f.ID = s.world.id("F")
		}
		name := url.PathEscape(path.Base(f.Name))
		f.URL = s.URL() + "/files/" + f.ID + "/" + name
		f.Permalink = s.URL() + "/files/" + user + "/" + f.ID + "/" + name
		if f.Download == "" {
			f.Download = s.URL() + privateFiles + f.ID + "/download/" + name
		}
		if f.Size == 0 {
			f.Size = len(f.Content)
		}
		s.uploads[f.ID] = &upload{file: *f, length: len(f.Content), content: f.Content, done: true}
	}
	return files
}

// servePrivateFile hands a file to the app, with its token and the scope files:read.
// Everybody else is sent to where people sign in, and gets a page with status 200.
func (s *Server) servePrivateFile(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	u := s.uploads[r.PathValue("id")]
	may := r.Header.Get("Authorization") == "Bearer "+s.opts.BotToken && !s.revoked[s.opts.BotToken] && slices.Contains(s.opts.Scopes, "files:read")
	var file File
	var content []byte
	if u != nil && u.done {
		file, content = u.file, u.content
	}
	s.mu.Unlock()
	switch {
	case !may:
		http.Redirect(w, r, signIn+"?"+url.Values{"redir": {r.URL.Path}}.Encode(), http.StatusFound)
	case content == nil:
		http.NotFound(w, r)
	default:
		w.Header().Set("Content-Type", file.Mimetype)
		w.Header().Set("Content-Disposition", "attachment")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(content)
	}
}

func (*Server) serveSignIn(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, signInPage)
}
