package product

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/integrations/evidence"
	"github.com/backout/backout/workflows/incident"
)

// maxFileName is the longest part of a file's name that comes from evidence, in
// bytes: with what is put around it, far below the 255 that file systems take.
const maxFileName = 100

// extensions are those of the media types that evidence has. What a browser would
// run, such as HTML, gets none of its own and opens as text.
var extensions = map[string]string{
	"application/json": ".json", "application/yaml": ".yaml", "application/pdf": ".pdf",
	"image/png": ".png", "image/jpeg": ".jpg", "text/csv": ".csv", "text/x-diff": ".diff",
}

// fileNameOf is the name of a document's file: of characters that every file system
// takes and no shell acts on, never a path, and unique by its number.
func fileNameOf(number int, name, mediaType string) string {
	media, _, _ := strings.Cut(mediaType, ";")
	extension, ok := extensions[media]
	switch {
	case ok:
	case strings.HasPrefix(media, "text/"), strings.HasPrefix(media, "image/svg"):
		extension = ".txt"
	default:
		extension = ".bin"
	}
	return fmt.Sprintf("%02d-%s%s", number, plainName(name), extension)
}

func plainName(name string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		default:
			return '_'
		}
	}, name)
	return strings.Trim(clean[:min(len(clean), maxFileName)], ".")
}

// exhibition is what index.html shows.
type exhibition struct {
	Incident string
	Phases   []exhibitedPhase
	Lost     int
}

type exhibitedPhase struct {
	Rollback, Phase string
	Documents       []exhibit
}

// exhibit is one row of the index. Without a file there is only the reason.
type exhibit struct {
	Name, Collector, File, Digest, Missing string
	Size                                   int64
	Redactions                             int
}

// archive takes the files of an export.
type archive interface {
	add(name string, content []byte) error
	// close makes the export whole; abandon leaves nothing of it.
	close() error
	abandon() error
}

func (p *program) exportEvidence(ctx context.Context, key, out string) (err error) {
	all, err := p.manifests(ctx, key)
	if err != nil {
		return err
	}
	store, err := p.evidenceStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	create := newFolder
	if strings.HasSuffix(out, ".tar") {
		create = newTar
	}
	to, err := create(out, latest(all))
	if err != nil {
		return err
	}
	e := exporter{store: store, to: to, shown: exhibition{Incident: key}}
	err = e.export(ctx, all)
	if err == nil {
		err = to.close()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("export evidence: %w", err), to.abandon())
	}
	if _, err := fmt.Fprintf(p.stderr, "%d files written to %s; open index.html, check them with sha256sum -c SHA256SUMS\n", e.files, out); err != nil {
		return err
	}
	if e.shown.Lost > 0 {
		return fmt.Errorf("%d documents are no longer in the evidence store, see MISSING.txt; the others were exported:\n%s", e.shown.Lost, strings.TrimSuffix(e.lost.String(), "\n"))
	}
	return nil
}

// latest is when the last document was captured.
func latest(all []incident.Manifest) time.Time {
	var at time.Time
	for _, m := range all {
		for _, i := range m.Items {
			if i.At.After(at) {
				at = i.At
			}
		}
	}
	return at.UTC().Truncate(time.Second)
}

// exporter writes one export, a document at a time.
type exporter struct {
	store *evidence.Store
	to    archive
	shown exhibition
	files int
	sums  bytes.Buffer // Of all files but itself, as sha256sum reads it.
	// missing tells all that is not there, lost what was there once.
	missing, lost strings.Builder
}

func (e *exporter) add(name string, content []byte) error {
	e.files++
	fmt.Fprintf(&e.sums, "%s  %s\n", strings.TrimPrefix(incident.DigestOf(content), "sha256:"), name)
	return e.to.add(name, content)
}

func (e *exporter) export(ctx context.Context, all []incident.Manifest) error {
	for n, m := range all {
		if err := e.phase(ctx, n+1, m); err != nil {
			return err
		}
	}
	if e.missing.Len() > 0 {
		if err := e.add("MISSING.txt", []byte(e.missing.String())); err != nil {
			return err
		}
	}
	var page bytes.Buffer
	if err := indexPage.Execute(&page, e.shown); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	if err := e.add("index.html", page.Bytes()); err != nil {
		return err
	}
	e.files++
	return e.to.add("SHA256SUMS", e.sums.Bytes())
}

func (e *exporter) phase(ctx context.Context, number int, m incident.Manifest) error {
	folder := fmt.Sprintf("%02d-%s-%s", number, plainName(m.Rollback), plainName(string(m.Phase)))
	shown := exhibitedPhase{Rollback: views.Plain(m.Rollback, maxPrinted), Phase: views.Plain(string(m.Phase), maxPrinted)}
	items := append([]incident.EvidenceItem{{Name: manifestName, Digest: m.Digest, MediaType: "application/json"}}, m.Items...)
	for n, i := range items {
		row := exhibit{
			Name: views.Plain(i.Name, maxPrinted), Collector: views.Plain(i.Collector, maxPrinted), Missing: views.Plain(i.Missing, maxPrinted),
			Digest: i.Digest, Size: i.Size, Redactions: i.Redactions,
		}
		if i.Digest != "" {
			content, err := e.store.Get(ctx, i.Digest)
			switch {
			case err == nil:
				row.File, row.Size = path.Join(folder, fileNameOf(n, i.Name, i.MediaType)), int64(len(content))
				if err := e.add(row.File, content); err != nil {
					return err
				}
			case errors.Is(err, evidence.ErrNotFound), errors.Is(err, evidence.ErrCorrupt), errors.Is(err, evidence.ErrInvalid):
				e.shown.Lost++
				row.Missing = views.Plain(err.Error(), maxPrinted)
				fmt.Fprintf(&e.lost, "%s: %s: %s\n", folder, row.Name, row.Missing)
			default:
				return fmt.Errorf("read document %q: %w", i.Name, err) // A store that is away is no store without it.
			}
		}
		if row.Missing != "" {
			fmt.Fprintf(&e.missing, "%s: %s: %s\n", folder, row.Name, row.Missing)
		}
		shown.Documents = append(shown.Documents, row)
	}
	e.shown.Phases = append(e.shown.Phases, shown)
	return nil
}

// indexPage is read in a browser, from a disk, with no network.
var indexPage = template.Must(template.New("index").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Evidence of {{.Incident}}</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #8886; padding: .3em .6em .3em 0; text-align: left; vertical-align: top }
td { overflow-wrap: anywhere }
code { font-size: 80% }
</style>
<h1>Evidence of {{.Incident}}</h1>
{{with .Lost}}<p><strong>{{.}} documents are no longer in the evidence store.</strong> They are listed below with the reason.</p>
{{end}}<p>Check the files with <code>sha256sum -c SHA256SUMS</code>. The digest of each manifest is in the ledger.</p>
{{range .Phases}}<h2>{{.Phase}} {{.Rollback}}</h2>
<table>
<tr><th>Document</th><th>Collector</th><th>Bytes</th><th>Redacted</th><th>SHA-256</th></tr>
{{range .Documents}}<tr><td>{{if .File}}<a href="{{.File}}">{{.Name}}</a>{{else}}{{.Name}}{{end}}{{with .Missing}}<br><strong>missing:</strong> {{.}}{{end}}</td><td>{{.Collector}}</td><td>{{if .File}}{{.Size}}{{end}}</td><td>{{if .Redactions}}{{.Redactions}}{{end}}</td><td><code>{{.Digest}}</code></td></tr>
{{end}}</table>
{{end}}</html>
`))

// folder is an export that gets its name when it is whole.
type folder struct{ draft, name string }

func newFolder(name string, _ time.Time) (archive, error) {
	if _, err := os.Lstat(name); err == nil {
		return nil, fmt.Errorf("export evidence: %q exists already", name)
	}
	draft, err := os.MkdirTemp(filepath.Dir(filepath.Clean(name)), ".evidence-*")
	if err != nil {
		return nil, fmt.Errorf("export evidence: %w", err)
	}
	return folder{draft: draft, name: filepath.Clean(name)}, nil
}

func (f folder) add(name string, content []byte) error {
	at := filepath.Join(f.draft, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	return writeNew(at, content)
}

func (f folder) close() error   { return os.Rename(f.draft, f.name) }
func (f folder) abandon() error { return os.RemoveAll(f.draft) }

// tarFile is an export in one file. The same evidence is the same bytes.
type tarFile struct {
	file *os.File
	tar  *tar.Writer
	at   time.Time
}

func newTar(name string, at time.Time) (archive, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("export evidence: %w", err)
	}
	return tarFile{file: f, tar: tar.NewWriter(f), at: at}, nil
}

func (t tarFile) add(name string, content []byte) error {
	if err := t.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: t.at, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := t.tar.Write(content)
	return err
}

func (t tarFile) close() error {
	return errors.Join(t.tar.Close(), t.file.Sync(), t.file.Close())
}

func (t tarFile) abandon() error {
	_ = t.file.Close() // It may be closed already.
	return os.Remove(t.file.Name())
}
