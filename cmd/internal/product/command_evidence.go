package product

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/integrations/evidence"
	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/workflows/incident"
)

func (p *program) evidenceCommand() *cobra.Command {
	c := &cobra.Command{Use: "evidence", Short: "List, read and export the evidence of rollbacks", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var raw string
	show := &cobra.Command{
		Use: "show DIGEST", Short: "Print one document", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.showEvidence(cmd.Context(), args[0], raw) },
	}
	show.Flags().StringVarP(&raw, "output", "o", "", "`file` to write the document to as it is, which must not exist (default: standard output, without what a terminal would act on)")
	var out string
	export := &cobra.Command{
		Use: "export INCIDENT", Short: "Write all evidence of an incident so that it opens anywhere", Args: cobra.ExactArgs(1),
		Long: "Write all evidence of an incident into a folder, or into a tar archive when the name ends\nin .tar, with the manifests, a list of what could not be had, and SHA256SUMS to check it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return fmt.Errorf("%w: say with --output where to", errUsage)
			}
			return p.exportEvidence(cmd.Context(), args[0], out)
		},
	}
	export.Flags().StringVarP(&out, "output", "o", "", "`folder` or .tar file to write, which must not exist")
	c.AddCommand(&cobra.Command{
		Use: "list INCIDENT", Short: "List what was captured, and what could not be had", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.listEvidence(cmd.Context(), args[0]) },
	}, show, export)
	return c
}

// manifests are those that the ledger has of an incident, in the order recorded.
func (p *program) manifests(ctx context.Context, key string) ([]incident.Manifest, error) {
	l, err := p.openLedger(ctx, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }() // Nothing was written.
	records, err := l.Kind(ctx, key, incident.EventEvidence)
	if err != nil {
		return nil, err
	}
	var all []incident.Manifest
	for _, r := range records {
		var m incident.Manifest
		// What says that evidence could not be recorded has no manifest.
		if json.Unmarshal(r.Entry.Payload, &m) == nil && m.Digest != "" {
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the ledger has no evidence of incident %q; see %s incident list", key, p.name)
	}
	return all, nil
}

func (p *program) listEvidence(ctx context.Context, key string) error {
	all, err := p.manifests(ctx, key)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ROLLBACK\tPHASE\tTAKEN (UTC)\tSIZE\tREDACTED\tDOCUMENT\tDIGEST") // Flush says what went wrong.
	for _, m := range all {
		_, _ = fmt.Fprintf(w, "%s\t%s\t\t\t\tmanifest\t%s\n", m.Rollback, m.Phase, m.Digest)
		for _, i := range m.Items {
			name, at := views.Plain(i.Name, maxPrinted), i.At.UTC().Format(time.TimeOnly)
			if i.Missing != "" {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t-\t-\t%s\tMISSING: %s\n", m.Rollback, m.Phase, at, name, views.Plain(i.Missing, maxPrinted))
				continue
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", m.Rollback, m.Phase, at, i.Size, i.Redactions, name, i.Digest)
		}
	}
	return w.Flush()
}

// maxPrinted is the longest name or reason in a list, in runes.
const maxPrinted = 120

func (p *program) evidenceStore(ctx context.Context) (*evidence.Store, error) {
	config, err := p.load()
	if err != nil {
		return nil, err
	}
	return openEvidence(ctx, config)
}

func (p *program) showEvidence(ctx context.Context, digest, raw string) (err error) {
	if !incident.ValidDigest(digest) {
		return fmt.Errorf("%w: %q is no digest; %s evidence list shows them whole", errUsage, digest, p.name)
	}
	store, err := p.evidenceStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	content, err := store.Get(ctx, digest)
	if err != nil {
		return err
	}
	if raw != "" {
		return writeNew(raw, content)
	}
	for line := range strings.Lines(string(content)) {
		if _, err := fmt.Fprintln(p.stdout, ledger.Printable(strings.TrimRight(line, "\r\n"))); err != nil {
			return err
		}
	}
	return nil
}

// writeNew writes a file that is not there yet, for its owner only.
func writeNew(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// exhibit is one file of an export.
type exhibit struct {
	name    string
	content []byte
}

// extensions are those of the media types that evidence has.
var extensions = map[string]string{"application/json": ".json", "text/plain": ".txt", "text/csv": ".csv", "application/yaml": ".yaml", "image/png": ".png"}

// fileName is a name that every file system takes and no shell acts on.
func fileName(name string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		default:
			return '_'
		}
	}, name)
	return strings.TrimLeft(clean[:min(len(clean), maxPrinted)], ".")
}

// exhibits are the files of an export. A document that the store has not, or has
// damaged, is an error: an export that lacks something says so, or is none.
func exhibits(ctx context.Context, store *evidence.Store, all []incident.Manifest) ([]exhibit, error) {
	var out []exhibit
	var missing, sums bytes.Buffer
	add := func(name string, content []byte) {
		out = append(out, exhibit{name, content})
		_, _ = fmt.Fprintf(&sums, "%s  %s\n", strings.TrimPrefix(incident.DigestOf(content), "sha256:"), name) // A buffer takes all.
	}
	for _, m := range all {
		folder := path.Join(fileName(m.Rollback), string(m.Phase))
		listed, err := store.Get(ctx, m.Digest)
		if err != nil {
			return nil, fmt.Errorf("read manifest of %s: %w", folder, err)
		}
		add(path.Join(folder, "manifest.json"), listed)
		for n, i := range m.Items {
			if i.Missing != "" {
				_, _ = fmt.Fprintf(&missing, "%s: %s: %s\n", folder, views.Plain(i.Name, maxPrinted), ledger.Printable(i.Missing))
				continue
			}
			content, err := store.Get(ctx, i.Digest)
			if err != nil {
				return nil, fmt.Errorf("read %q of %s: %w", i.Name, folder, err)
			}
			media, _, _ := strings.Cut(i.MediaType, ";")
			add(path.Join(folder, fmt.Sprintf("%02d-%s%s", n+1, fileName(i.Name), extensions[media])), content)
		}
	}
	if missing.Len() > 0 {
		add("MISSING.txt", missing.Bytes())
	}
	return append(out, exhibit{"SHA256SUMS", sums.Bytes()}), nil
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
	files, err := exhibits(ctx, store, all)
	if err != nil {
		return err
	}
	write := writeFolder
	if strings.HasSuffix(out, ".tar") {
		write = writeTar
	}
	if err := write(out, files); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stderr, "%d files written to %s; check them there with sha256sum -c SHA256SUMS\n", len(files), out)
	return err
}

// writeFolder writes a folder that is not there yet. It gets its name when it is whole.
func writeFolder(name string, files []exhibit) (err error) {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("write evidence: %q exists already", name)
	}
	draft, err := os.MkdirTemp(filepath.Dir(filepath.Clean(name)), ".evidence-*")
	if err != nil {
		return fmt.Errorf("write evidence: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(draft))
		}
	}()
	for _, f := range files {
		at := filepath.Join(draft, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			return fmt.Errorf("write evidence: %w", err)
		}
		if err := writeNew(at, f.content); err != nil {
			return err
		}
	}
	return os.Rename(draft, name)
}

// writeTar writes an archive that is not there yet. The same evidence is the same
// archive.
func writeTar(name string, files []exhibit) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range slices.SortedFunc(slices.Values(files), func(x, y exhibit) int { return strings.Compare(x.name, y.name) }) {
		err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.content)), Format: tar.FormatPAX})
		if err == nil {
			_, err = io.Copy(w, bytes.NewReader(f.content))
		}
		if err != nil {
			return fmt.Errorf("write evidence: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write evidence: %w", err)
	}
	return writeNew(name, b.Bytes())
}
