package helm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	storagedriver "helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const (
	// targetForm shows how a target's path is spelled.
	targetForm = "<namespace>/<release>"
	// maxName is the longest name of a release, in characters.
	// Source: https://helm.sh/docs/chart_template_guide/builtin_objects/ and the limit
	// of Helm's own check, which leaves room in the names of Secrets.
	maxName = 53
	// keeper is the owner label of the Secrets that Helm keeps revisions in.
	keeper = "helm"
)

var secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// reference names one release of a cluster.
type reference struct{ namespace, name string }

// String is how the release is spelled in a target's path.
func (r reference) String() string { return r.namespace + "/" + r.name }

// parseTarget reads "<namespace>/<release>".
func parseTarget(target incident.Target) (reference, error) {
	namespace, name, _ := strings.Cut(target.Path, "/")
	if len(name) > maxName || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return reference{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	return reference{namespace: namespace, name: name}, nil
}

// revision is one revision of a release, as Helm recorded it.
type revision struct {
	*release.Release
	// digest is taken over the manifest.
	digest string
	// holder is the identity of the Secret that holds it.
	holder types.UID
}

// name is what people call the revision.
func (r revision) name() string {
	if label := r.label(); label != "" {
		return fmt.Sprintf("revision %d (%s)", r.Version, label)
	}
	return fmt.Sprintf("revision %d", r.Version)
}

// label is the chart with its version, and the version of what it deploys.
func (r revision) label() string {
	if r.Chart == nil || r.Chart.Metadata == nil {
		return ""
	}
	label := r.Chart.Metadata.Name + "-" + r.Chart.Metadata.Version
	if app := r.Chart.Metadata.AppVersion; app != "" {
		label += "/" + app
	}
	return oneLine(label, maxLabel)
}

func (r revision) state() incident.State {
	return incident.State{Revision: strconv.Itoa(r.Version), Digest: r.digest, Label: r.label()}
}

// pending reports whether a change of the release was begun and not finished.
func (r revision) pending() bool { return r.Info.Status.IsPending() }

// ours reports whether Backout made the revision.
func (r revision) ours() bool { return strings.HasPrefix(r.Info.Description, description) }

// history are the revisions that are kept of a release, oldest first, at least one.
type history []revision

func (h history) last() revision { return h[len(h)-1] }

func (h history) byNumber(number int) (revision, bool) {
	for _, r := range h {
		if r.Version == number {
			return r, true
		}
	}
	return revision{}, false
}

// find returns the revision that a state names, or the latest finished one with the
// same manifest.
func (h history) find(state incident.State) (revision, bool) {
	for _, r := range slices.Backward(h) {
		if r.digest == state.Digest && strconv.Itoa(r.Version) == state.Revision {
			return r, true
		}
	}
	for _, r := range slices.Backward(h) {
		if r.digest == state.Digest && !r.pending() {
			return r, true
		}
	}
	return revision{}, false
}

// records is Helm's own storage of one release, asked within the time of one call.
type records struct {
	clients *clients
	ref     reference
	store   *storagedriver.Secrets
	bound   *bound
}

func (c *clients) recordsOf(ctx context.Context, ref reference) records {
	b := &bound{SecretInterface: c.records.Secrets(ref.namespace), ctx: ctx, holders: map[string]types.UID{}}
	return records{clients: c, ref: ref, store: storagedriver.NewSecrets(b), bound: b}
}

// key is the name of the Secret that holds a revision.
func (r records) key(number int) string {
	return fmt.Sprintf("%s.%s.v%d", storage.HelmStorageType, r.ref.name, number)
}

// history reads all revisions. A release that Helm does not know is
// driver.ErrNotFound; a revision that can not be read is an error, since it may be the
// one that counts.
func (r records) history() (history, error) {
	found, err := r.store.Query(map[string]string{"name": r.ref.name, "owner": keeper})
	if errors.Is(err, storagedriver.ErrReleaseNotFound) {
		return nil, fmt.Errorf("read history of release %q in namespace %q: %w", r.ref.name, r.ref.namespace, driver.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read history of release %q in namespace %q: %w", r.ref.name, r.ref.namespace, r.clients.Classify(err))
	}
	if len(found) != len(r.bound.holders) {
		return nil, fmt.Errorf("read history of release %q in namespace %q: %w: %d of %d revisions can not be decoded", r.ref.name, r.ref.namespace, driver.ErrInvalid, len(r.bound.holders)-len(found), len(r.bound.holders))
	}
	var all history
	for _, rel := range found {
		if rel.Info == nil || rel.Name != r.ref.name || rel.Version < 1 {
			return nil, fmt.Errorf("read history of release %q in namespace %q: %w: a revision is not what its Secret says", r.ref.name, r.ref.namespace, driver.ErrInvalid)
		}
		all = append(all, revision{Release: rel, digest: incident.DigestOf([]byte(rel.Manifest)), holder: r.bound.holders[r.key(rel.Version)]})
	}
	slices.SortFunc(all, func(a, b revision) int { return cmp.Compare(a.Version, b.Version) })
	return all, nil
}

// create makes a revision, unless there is one with its number.
func (r records) create(rel *release.Release) (made revision, exists bool, err error) {
	key := r.key(rel.Version)
	switch err := r.store.Create(key, rel); {
	case errors.Is(err, storagedriver.ErrReleaseExists):
		return revision{}, true, nil
	case err != nil:
		return revision{}, false, fmt.Errorf("create revision %d of release %q: %w", rel.Version, rel.Name, r.clients.Classify(err))
	}
	return revision{Release: rel, digest: incident.DigestOf([]byte(rel.Manifest)), holder: r.bound.holders[key]}, false, nil
}

// mark changes the status of a revision, in the very Secret that was read.
func (r records) mark(rev revision, status release.Status, said string) error {
	info := *rev.Info
	info.Status = status
	if said != "" {
		info.Description = said
	}
	marked := *rev.Release
	marked.Info = &info
	if err := r.store.Update(r.key(rev.Version), &marked); err != nil {
		return fmt.Errorf("mark revision %d of release %q as %s: %w", rev.Version, rev.Name, status, r.clients.Classify(err))
	}
	return nil
}

// latest is the number and the holder of the latest revision, read without the
// contents.
func (c *clients) latest(ctx context.Context, ref reference) (number int, holder types.UID, err error) {
	selector := labels.Set{"name": ref.name, "owner": keeper}.String()
	heads, err := c.heads.Resource(secrets).Namespace(ref.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return 0, "", fmt.Errorf("read latest revision of release %q: %w", ref.name, c.Classify(err))
	}
	for i := range heads.Items {
		n, err := strconv.Atoi(heads.Items[i].Labels["version"])
		if err != nil {
			return 0, "", fmt.Errorf("read latest revision of release %q: %w: Secret %q has no version", ref.name, driver.ErrInvalid, heads.Items[i].Name)
		}
		if n > number {
			number, holder = n, heads.Items[i].UID
		}
	}
	return number, holder, nil
}

// bound are the Secrets of a namespace within the time of one call. Helm's storage
// takes no context, and so would outlive the maximum time of an action.
type bound struct {
	coreclient.SecretInterface
	ctx context.Context
	// holders are the identities of the Secrets that came by, by their names.
	holders map[string]types.UID
}

// List notes the identity of each Secret.
func (b *bound) List(_ context.Context, options metav1.ListOptions) (*corev1.SecretList, error) {
	list, err := b.SecretInterface.List(b.ctx, options) //nolint:contextcheck // Helm's storage passes an empty one.
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		b.holders[list.Items[i].Name] = list.Items[i].UID
	}
	return list, nil
}

// Create notes the identity of the Secret.
func (b *bound) Create(_ context.Context, secret *corev1.Secret, options metav1.CreateOptions) (*corev1.Secret, error) {
	options.FieldManager = fieldManager
	made, err := b.SecretInterface.Create(b.ctx, secret, options) //nolint:contextcheck // As above.
	if err == nil {
		b.holders[made.Name] = made.UID
	}
	return made, err
}

// Update replaces the Secret only if it is the one that came by under its name.
func (b *bound) Update(_ context.Context, secret *corev1.Secret, options metav1.UpdateOptions) (*corev1.Secret, error) {
	options.FieldManager = fieldManager
	secret = secret.DeepCopy()
	secret.UID = b.holders[secret.Name]
	return b.SecretInterface.Update(b.ctx, secret, options) //nolint:contextcheck // As above.
}
