package kubernetes

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
)

// Objects returns the client that reads and writes objects of any resource. Its
// errors are for Classify.
func (c *cluster) Objects() dynamic.Interface { return c.client }

// Workloads returns the inverse "kubernetes.workload" of this cluster, for a kind
// that puts its own knowledge around it.
func (c *cluster) Workloads() driver.Inverse { return inverse{c} }

// WorkloadChanges returns the change source "kubernetes.workload" of this cluster.
func (c *cluster) WorkloadChanges() driver.ChangeSource { return changes{c} }

// Template reads the pod template of a workload or of a ReplicaSet: its digest, over
// the canonical form, and what people call it.
func (c *cluster) Template(object *unstructured.Unstructured) (digest, label string, err error) {
	t, err := templateOf(object)
	if err != nil {
		return "", "", err
	}
	digest, err = t.digest()
	return digest, t.label(), err
}

// TemplateReferences lists the ConfigMaps and Secrets that the pod template of a
// workload or of a ReplicaSet names, sorted.
func (c *cluster) TemplateReferences(object *unstructured.Unstructured) (configMaps, secrets []string) {
	t, err := templateOf(object)
	if err != nil {
		return nil, nil
	}
	return t.references()
}

// TemplateChanged is when the present pod template of a workload was written, as far
// as the API server's record of field owners says, to the second. It is zero when
// there is no record.
func (c *cluster) TemplateChanged(object *unstructured.Unstructured) time.Time {
	return templateChanged(object)
}

// Author is who deployed an object, as the annotation says that the settings name. It
// is empty when they name none.
func (c *cluster) Author(object *unstructured.Unstructured) string {
	if c.settings.AuthorAnnotation == "" {
		return ""
	}
	return object.GetAnnotations()[c.settings.AuthorAnnotation]
}
