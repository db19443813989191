package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/backout/backout/cmd/sandbox/internal/shop"
)

// openReleases starts what decides about releases: a NATS server, or a
// cluster.
func openReleases(ctx context.Context, o options, dir string) (releaser, error) {
	if o.kube != "" {
		return shop.OpenCluster(ctx, o.kube, filepath.Join(dir, "cluster"))
	}
	return shop.OpenReleases(ctx, filepath.Join(dir, "nats"))
}

// system is the configuration of what decides about releases.
func (w *world) system() string {
	switch r := w.releases.(type) {
	case *shop.Releases:
		return fmt.Sprintf("  - { name: shop, type: nats, settings: { url: %q } }\n", r.URL())
	case *shop.Cluster:
		return fmt.Sprintf("  - { name: cluster, type: kubernetes, settings: { kubeconfig: %q, author_annotation: %q } }\n", r.Kubeconfig(), shop.AuthorAnnotation)
	default:
		return ""
	}
}
