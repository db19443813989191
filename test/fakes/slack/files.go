package fakeslack

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of uploads.
const (
	// maxUpload is the largest file that the stand-in takes, in bytes.
	maxUpload = 16 << 20
	// maxAlt is the longest description of an image, in characters.
	// Source: https://docs.slack.dev/reference/methods/files.getUploadURLExternal
	maxAlt = 1000
	// maxShares is how many channels one upload is shared to.
	// Source: https://docs.slack.dev/reference/methods/files.completeUploadExternal
	maxShares = 100
	// uploadLife is how long an upload address works. Slack publishes no time; this
	// is long for a program and short for a test's clock.
	uploadLife = 10 * time.Minute
)

// upload is a file on its way: announced, then sent, then shared.
type upload struct {
	file    File
	length  int
	content []byte
	done    bool
	until   time.Time
}

func (s *Server) filesGetUploadURL(c *call) (answer, *refusal) {
	length := c.args.number("length", 0)
	switch {
	case length <= 0 || c.args.text("filename") == "":
		return nil, refuse("missing_argument")
	case length > maxUpload:
		return nil, refuse("file_upload_size_restricted")
	case utf8.RuneCountInString(c.args.text("alt_txt")) > maxAlt:
		return nil, refuse("alt_txt_too_large")
	}
	name := path.Base(c.args.text("filename"))
	id := s.world.id("F")
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	s.uploads[id] = &upload{
		length: length, until: c.now.Add(uploadLife),
		file: File{
			ID: id, Name: name, Title: name, Mimetype: kind, Size: length, Alt: c.args.text("alt_txt"),
			URL:       s.URL() + "/files/" + id + "/" + name,
			Permalink: s.URL() + "/files/" + s.opts.BotUserID + "/" + id + "/" + name,
		},
	}
	return answer{"upload_url": s.URL() + "/upload/" + id, "file_id": id}, nil
}

// serveUpload takes the bytes of an announced file, raw or as a form file.
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxUpload+maxBody)
	var source io.Reader = r.Body
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		file, _, err := r.FormFile("file")
		if err != nil {
			http.Error(w, "no file", http.StatusBadRequest)
			return
		}
		defer func() { _ = file.Close() }()
		source = file
	}
	content, err := io.ReadAll(source)
	if err != nil {
		http.Error(w, "unreadable file", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[r.PathValue("id")]
	switch {
	case u == nil || !s.opts.Now().Before(u.until):
		http.Error(w, "no such upload", http.StatusNotFound)
	case u.done:
		http.Error(w, "the upload was completed", http.StatusBadRequest)
	case len(content) != u.length:
		http.Error(w, "length differs from what was announced", http.StatusBadRequest)
	default:
		u.content = content
		_, _ = io.WriteString(w, "OK")
	}
}

func (s *Server) filesCompleteUpload(c *call) (answer, *refusal) {
	var listed []struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	}
	if err := json.Unmarshal(c.args.value("files"), &listed); err != nil || len(listed) == 0 {
		return nil, refuse("invalid_arguments", "[ERROR] must provide an array [json-pointer:/files]")
	}
	said := content{text: c.args.text("initial_comment"), blocks: c.args.value("blocks")}
	said, refused := s.checkContent(said)
	if refused != nil {
		return nil, refused
	}
	var files []File
	for _, l := range listed {
		u := s.uploads[l.ID]
		if u == nil || u.content == nil || u.done {
			return nil, refuse("file_not_found")
		}
		if l.Title != "" {
			u.file.Title = l.Title
		}
		files = append(files, u.file)
	}
	targets := c.args.text("channels")
	if targets == "" {
		targets = c.args.text("channel_id")
	}
	ids := strings.FieldsFunc(targets, func(r rune) bool { return r == ',' })
	thread := c.args.text("thread_ts")
	switch {
	case len(ids) > maxShares:
		return nil, refuse("channels_limit_exceeded")
	case thread != "" && len(ids) != 1:
		return nil, refuse("invalid_arguments", "[ERROR] thread_ts needs exactly one channel [json-pointer:/thread_ts]")
	}
	var channels []*conversation
	for _, id := range ids {
		channel, refused := s.joined(id)
		if refused != nil {
			return nil, refused
		}
		// The stand-in is stricter than Slack here, which has no code for it.
		if parent := channel.message(thread); thread != "" && (parent == nil || parent.ThreadTS != "") {
			return nil, refuse("invalid_arguments", "[ERROR] thread_ts is not the parent of a thread [json-pointer:/thread_ts]")
		}
		channels = append(channels, channel)
	}
	for _, channel := range channels {
		m := s.botMessage(channel.ID, thread, said)
		m.Files = files
		channel.messages = append(channel.messages, m)
	}
	shown := make([]map[string]any, 0, len(files))
	for _, f := range files {
		s.uploads[f.ID].done = true
		shown = append(shown, f.wire())
	}
	return answer{"files": shown}, nil
}

// serveFile shows a shared file to whoever looks at the page.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	u := s.uploads[r.PathValue("id")]
	var file File
	var content []byte
	if u != nil && u.done {
		file, content = u.file, u.content
	}
	s.mu.Unlock()
	if content == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", file.Mimetype)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	_, _ = w.Write(content)
}
