package product

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/integrations/evidence"
	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/workflows/incident"
)

const (
	// maxPrinted is the longest name or reason in a list, in runes.
	maxPrinted = 120
	// leastDigest is how many digits of a digest name a document: those that lists
	// show.
	leastDigest = 8
	// manifestName is what the manifest of a phase is called among its documents.
	manifestName = "manifest"
)

func (p *program) evidenceCommand() *cobra.Command {
	c := &cobra.Command{Use: "evidence", Short: "List, read and export the evidence of rollbacks", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(&cobra.Command{
		Use: "list INCIDENT", Short: "List what was captured, and what could not be had", Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.listEvidence(cmd.Context(), args[0]) },
	}, p.showEvidenceCommand(), p.exportEvidenceCommand())
	return c
}

func (p *program) showEvidenceCommand() *cobra.Command {
	var phase, out string
	c := &cobra.Command{
		Use: "show INCIDENT NAME|DIGEST", Short: "Print one document", Args: exactArgs(2),
		Long: "Print one document of an incident, by its name or by the digits of its digest that list\nshows. What a terminal would act on is escaped; --output writes the document as it is.",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch incident.EvidencePhase(phase) {
			case "", incident.EvidenceBefore, incident.EvidenceAfter, incident.EvidenceChart, incident.EvidencePinned:
			default:
				return fmt.Errorf("%w: --phase is before, after, chart or pinned, not %q", errUsage, phase)
			}
			return p.showEvidence(cmd.Context(), args[0], args[1], incident.EvidencePhase(phase), out)
		},
	}
	c.Flags().StringVar(&phase, "phase", "", "before, after, chart or pinned: which of several documents of one name")
	c.Flags().StringVarP(&out, "output", "o", "", "`file` to write the document to as it is, which must not exist")
	return c
}

func (p *program) exportEvidenceCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "export INCIDENT --output FOLDER|FILE.tar", Short: "Write all evidence of an incident so that it opens anywhere", Args: exactArgs(1),
		Long: "Write all evidence of an incident into a folder, or into a tar archive when the name ends\nin .tar: the documents, the manifests, index.html to read them by, and SHA256SUMS to check\nthem. What could not be had is in MISSING.txt. Exits 1 when the store does not have a\ndocument any more; the others are written all the same.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return fmt.Errorf("%w: say with --output where to", errUsage)
			}
			return p.exportEvidence(cmd.Context(), args[0], out)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "`folder` or .tar file to write, which must not exist")
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

func (p *program) evidenceStore(ctx context.Context) (*evidence.Store, error) {
	config, err := p.load()
	if err != nil {
		return nil, err
	}
	return openEvidence(ctx, config)
}

func (p *program) listEvidence(ctx context.Context, key string) error {
	all, err := p.manifests(ctx, key)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ROLLBACK\tPHASE\tDOCUMENT\tCOLLECTOR\tTAKEN (UTC)\tSIZE\tREDACTED\tDIGEST\tMISSING") // Flush says what went wrong.
	for _, m := range all {
		row := func(fields ...string) {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", views.Plain(m.Rollback, maxPrinted), views.Plain(string(m.Phase), maxPrinted), strings.Join(fields, "\t"))
		}
		row(manifestName, "-", "-", "-", "-", incident.ShortDigest(m.Digest), "-")
		for _, i := range m.Items {
			size, redacted, digest, missing := "-", "-", "-", "-"
			if i.Digest != "" {
				size, redacted, digest = fmt.Sprint(i.Size), fmt.Sprint(i.Redactions), incident.ShortDigest(i.Digest)
			}
			if i.Missing != "" {
				missing = views.Plain(i.Missing, maxPrinted)
			}
			row(views.Plain(i.Name, maxPrinted), views.Plain(i.Collector, maxPrinted), i.At.UTC().Format(time.DateTime), size, redacted, digest, missing)
		}
	}
	return w.Flush()
}

// findDocument is the one document that people mean by a name or by a digest: whole,
// or its first digits as lists show them.
func findDocument(all []incident.Manifest, wanted string, phase incident.EvidencePhase) (incident.EvidenceItem, error) {
	digits := strings.TrimPrefix(strings.ToLower(wanted), "sha256:")
	byDigest := len(digits) >= leastDigest && strings.Trim(digits, "0123456789abcdef") == ""
	var found []incident.EvidenceItem
	missing := ""
	for _, m := range all {
		if phase != "" && m.Phase != phase {
			continue
		}
		itself := incident.EvidenceItem{Name: manifestName, Digest: m.Digest, MediaType: "application/json"}
		for _, i := range append([]incident.EvidenceItem{itself}, m.Items...) {
			named := i.Name == wanted || views.Plain(i.Name, maxPrinted) == wanted
			switch {
			case i.Digest == "" && named:
				missing = i.Missing
			case i.Digest == "":
			case named, byDigest && strings.HasPrefix(strings.TrimPrefix(i.Digest, "sha256:"), digits):
				if !slices.ContainsFunc(found, func(f incident.EvidenceItem) bool { return f.Digest == i.Digest }) {
					found = append(found, i)
				}
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		var digests []string
		for _, f := range found {
			digests = append(digests, strings.TrimPrefix(f.Digest, "sha256:"))
		}
		return incident.EvidenceItem{}, fmt.Errorf("%d documents are called %q; say --phase before or after, or one of the digests %s", len(found), wanted, strings.Join(digests, ", "))
	case missing != "":
		return incident.EvidenceItem{}, fmt.Errorf("document %q could not be had: %s", wanted, missing)
	default:
		return incident.EvidenceItem{}, fmt.Errorf("no document is called %q and none has that digest; evidence list shows both", wanted)
	}
}

func (p *program) showEvidence(ctx context.Context, key, wanted string, phase incident.EvidencePhase, out string) (err error) {
	all, err := p.manifests(ctx, key)
	if err != nil {
		return err
	}
	item, err := findDocument(all, wanted, phase)
	if err != nil {
		return err
	}
	store, err := p.evidenceStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	content, err := store.Get(ctx, item.Digest)
	if err != nil {
		return fmt.Errorf("read document %q: %w", item.Name, err)
	}
	switch {
	case out != "":
		return writeNew(out, content)
	case isText(item.MediaType, content):
		return printText(p.stdout, content)
	case onTerminal(p.stdout):
		return fmt.Errorf("document %q is no text (%s); write it to a file with --output", item.Name, item.MediaType)
	default:
		_, err := p.stdout.Write(content)
		return err
	}
}

// isText reports whether a document can be printed. What claims to be text is taken
// for it also when it is in another encoding.
func isText(mediaType string, content []byte) bool {
	return !bytes.ContainsRune(content, 0) && (strings.HasPrefix(mediaType, "text/") || utf8.Valid(content))
}

// printText prints a document with everything escaped that a terminal acts on.
func printText(to io.Writer, content []byte) error {
	for line := range strings.Lines(strings.ToValidUTF8(string(content), "\uFFFD")) {
		if _, err := fmt.Fprintln(to, ledger.Printable(strings.TrimRight(line, "\r\n"))); err != nil {
			return err
		}
	}
	return nil
}

// onTerminal reports whether what is written may reach a terminal at once. It takes
// every character device for one.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err != nil || info.Mode()&os.ModeCharDevice != 0
}

// writeNew writes a file that is not there yet, for its owner only. What it could not
// write whole it removes.
func writeNew(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write file %q: %w", name, err), os.Remove(name))
	}
	return nil
}
