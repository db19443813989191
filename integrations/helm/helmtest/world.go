package helmtest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/backout/backout/test/controlplane"
)

// Name is the name of the release of a World, and of its objects.
const Name = "shop"

// World is a namespace with a release in it, seen with all rights by Helm itself.
type World struct {
	TB        testing.TB
	Plane     *controlplane.Plane
	Namespace string
	helm      *action.Configuration
}

// NewWorld makes a namespace without a release.
func NewWorld(tb testing.TB) *World {
	tb.Helper()
	plane := controlplane.Require(tb)
	return WorldOf(tb, plane, plane.Namespace(tb))
}

// WorldOf finds a namespace that NewWorld has made.
func WorldOf(tb testing.TB, plane *controlplane.Plane, namespace string) *World {
	tb.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &plane.Kubeconfig, &namespace
	flags.WithWrapConfigFn(func(cfg *rest.Config) *rest.Config {
		cfg.QPS = -1 // Otherwise Helm waits for its own limit, for seconds.
		return cfg
	})
	w := &World{TB: tb, Plane: plane, Namespace: namespace, helm: &action.Configuration{}}
	require.NoError(tb, w.helm.Init(knowing{flags, served(tb, plane)}, namespace, "secret", func(string, ...any) {}))
	// Asking the server takes a request each time that tells nothing here.
	w.helm.Capabilities = chartutil.DefaultCapabilities
	return w
}

// Version is what one revision deploys.
type Version struct {
	// Chart is the version of the chart, such as "1.2.0".
	Chart string
	// Templates are the chart's files by their names below templates.
	Templates map[string]string
	// Values are given with the release.
	Values map[string]any
	// CRDs are the chart's files below crds.
	CRDs map[string]string
}

func (v Version) chart() *chart.Chart {
	made := &chart.Chart{Metadata: &chart.Metadata{APIVersion: chart.APIVersionV2, Name: Name, Version: v.Chart, AppVersion: "v" + v.Chart}}
	for name, text := range v.Templates {
		made.Templates = append(made.Templates, &chart.File{Name: "templates/" + name, Data: []byte(text)})
	}
	for name, text := range v.CRDs {
		made.Files = append(made.Files, &chart.File{Name: "crds/" + name, Data: []byte(text)})
	}
	return made
}

// Install installs the release, as "helm install" does.
func (w *World) Install(v Version) *release.Release {
	w.TB.Helper()
	install := action.NewInstall(w.helm)
	install.ReleaseName, install.Namespace, install.DisableOpenAPIValidation = Name, w.Namespace, true
	rel, err := install.Run(v.chart(), v.Values)
	require.NoError(w.TB, err)
	return rel
}

// Upgrade upgrades the release, as "helm upgrade" does, with options changed as given.
func (w *World) Upgrade(v Version, options ...func(*action.Upgrade)) (*release.Release, error) {
	upgrade := action.NewUpgrade(w.helm)
	upgrade.Namespace, upgrade.DisableOpenAPIValidation = w.Namespace, true
	for _, option := range options {
		option(upgrade)
	}
	rel, err := upgrade.Run(Name, v.chart(), v.Values)
	if err != nil {
		return rel, fmt.Errorf("upgrade release: %w", err)
	}
	return rel, nil
}

// Rollback takes the release to the content of a revision, as "helm rollback" does.
func (w *World) Rollback(revision int) error {
	rollback := action.NewRollback(w.helm)
	rollback.Version = revision
	if err := rollback.Run(Name); err != nil {
		return fmt.Errorf("roll release back: %w", err)
	}
	return nil
}

// Uninstall takes the release away and keeps its history.
func (w *World) Uninstall() {
	w.TB.Helper()
	uninstall := action.NewUninstall(w.helm)
	uninstall.KeepHistory = true
	_, err := uninstall.Run(Name)
	require.NoError(w.TB, err)
}

// History are the revisions that Helm keeps, oldest first.
func (w *World) History() ([]*release.Release, error) {
	all, err := action.NewHistory(w.helm).Run(Name)
	if err != nil {
		return nil, fmt.Errorf("read history of release: %w", err)
	}
	return all, nil
}

// Begin records the start of an upgrade that never ends, as a Helm that is killed
// leaves it.
func (w *World) Begin(status release.Status) {
	w.TB.Helper()
	all, err := w.History()
	require.NoError(w.TB, err)
	last := *all[len(all)-1]
	info := *last.Info
	info.Status, info.Description = status, "Preparing upgrade"
	last.Info, last.Version = &info, last.Version+1
	last.Manifest = strings.ReplaceAll(last.Manifest, Name+":", Name+"-next:")
	require.NoError(w.TB, w.helm.Releases.Create(&last))
}

// timesOut makes an upgrade fail, after all of it was done, because Helm does not wait
// long enough for the pods.
func timesOut(u *action.Upgrade) { u.Wait, u.Timeout = true, time.Nanosecond }

// knowing is the configuration of a client that knows what the API server serves: to
// ask takes longer than all the rest, and the answer is always the same.
type knowing struct {
	*genericclioptions.ConfigFlags
	api discovery.CachedDiscoveryInterface
}

// ToDiscoveryClient is shared by all.
func (k knowing) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) { return k.api, nil }

// ToRESTMapper maps what is shared by all.
func (k knowing) ToRESTMapper() (meta.RESTMapper, error) {
	return restmapper.NewDeferredDiscoveryRESTMapper(k.api), nil
}

var (
	servedMu sync.Mutex
	servedBy = map[string]discovery.CachedDiscoveryInterface{}
)

// served is what the API server serves, asked once.
func served(tb testing.TB, plane *controlplane.Plane) discovery.CachedDiscoveryInterface {
	tb.Helper()
	servedMu.Lock()
	defer servedMu.Unlock()
	if servedBy[plane.Server] == nil {
		client, err := discovery.NewDiscoveryClientForConfig(plane.Config(tb, "admin"))
		require.NoError(tb, err)
		servedBy[plane.Server] = memory.NewMemCacheClient(client)
	}
	return servedBy[plane.Server]
}

// Records is Helm's own storage of the release.
func (w *World) Records() *storage.Storage { return w.helm.Releases }
