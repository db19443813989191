package helm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// valuesKind is the name of the collector.
const valuesKind = "helm.values"

// The parameters of the collector: the revisions to compare.
const (
	paramFrom = "from"
	paramTo   = "to"
)

// yamlType is the media type of values and manifests.
const yamlType = "application/yaml"

func init() {
	driver.RegisterCollector(valuesKind, systemType, func(c cluster) driver.Collector { return collector{dial: dial(c)} })
	driver.RegisterParams(valuesKind, func(target incident.Target, params map[string]string) error {
		if _, err := parseTarget(target); err != nil {
			return err
		}
		if len(params) == 0 {
			return nil
		}
		_, _, err := revisions(params)
		return err
	})
}

// collector captures what Helm knows of a release. It reads Helm's own records only,
// with the right that "helm.release" needs for them.
type collector struct {
	dial func() (*clients, error)
}

// capturedRevision is one revision as evidence.
type capturedRevision struct {
	Revision int       `json:"revision"`
	Status   string    `json:"status"`
	Chart    string    `json:"chart"`
	At       time.Time `json:"at"`
	// Digest is of the manifest, as states have it.
	Digest string `json:"digest"`
}

// Collect captures the history of a release and its present values, and how the values
// and the manifest differ between two revisions: those of the parameters "from" and
// "to", or those that the plan goes between. Without either, nothing is compared.
func (s collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	ref, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	from, to, err := compared(req)
	if err != nil {
		return nil, err
	}
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	past, err := c.recordsOf(ctx, ref).history()
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	captured := make([]capturedRevision, 0, len(past))
	for _, r := range past {
		captured = append(captured, capturedRevision{
			Revision: r.Version, Status: oneLine(r.Info.Status.String(), maxLabel), Chart: r.label(), At: r.Info.LastDeployed.Time.UTC(), Digest: r.digest,
		})
	}
	history, err := json.MarshalIndent(captured, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode history of %s: %w", req.Target, err)
	}
	values, err := past.last().values()
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	name := valuesKind + " " + ref.String()
	docs := []driver.Evidence{
		{Name: name + " history", MediaType: "application/json", Content: history},
		{Name: name, MediaType: yamlType, Content: values},
	}
	if from == 0 {
		return docs, nil
	}
	differences, err := past.differences(name, from, to)
	if err != nil {
		return docs, fmt.Errorf("compare revisions %d and %d of %s: %w", from, to, req.Target, err)
	}
	return append(docs, differences...), nil
}

// compared is the two revisions to compare; both are zero when nothing is.
func compared(req driver.CollectRequest) (from, to int, err error) {
	params := req.Params
	if len(params) == 0 {
		if req.Action.Kind != kind {
			return 0, 0, nil
		}
		params = map[string]string{paramFrom: req.Action.From.Revision, paramTo: req.Action.To.Revision}
	}
	if from, to, err = revisions(params); err != nil {
		return 0, 0, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	return from, to, nil
}

// revisions reads both parameters.
func revisions(params map[string]string) (from, to int, err error) {
	if err := driver.KnownParams(params, valuesKind, paramFrom, paramTo); err != nil {
		return 0, 0, err
	}
	var numbers [2]int
	for i, name := range []string{paramFrom, paramTo} {
		if numbers[i], err = strconv.Atoi(params[name]); err != nil || numbers[i] < 1 {
			return 0, 0, &driver.ParamError{Param: name, Reason: fmt.Sprintf("want %s and %s as numbers of revisions, or neither", paramFrom, paramTo)}
		}
	}
	return numbers[0], numbers[1], nil
}

// differences are how the values and the manifests of two revisions differ.
func (h history) differences(name string, from, to int) ([]driver.Evidence, error) {
	first, there := h.byNumber(from)
	second, also := h.byNumber(to)
	if !there || !also {
		return nil, errors.New("the history does not keep both of them")
	}
	was, err := first.values()
	if err != nil {
		return nil, err
	}
	is, err := second.values()
	if err != nil {
		return nil, err
	}
	between := fmt.Sprintf(" from %d to %d", from, to)
	return []driver.Evidence{
		{Name: name + between, MediaType: yamlType, From: was, Content: is},
		{Name: name + " manifest" + between, MediaType: yamlType, From: manifest(first), Content: manifest(second)},
	}, nil
}

// manifest is what a revision deploys; never nil.
func manifest(r revision) []byte { return []byte(strings.TrimLeft(r.Manifest, "\n") + "\n") }

// values are what was given with a revision, as YAML; never nil.
func (r revision) values() ([]byte, error) {
	text, err := chartutil.Values(r.Config).YAML()
	if err != nil {
		return nil, fmt.Errorf("spell out values of revision %d: %w", r.Version, driver.ErrInvalid) // The encoder's error quotes them.
	}
	return []byte(text), nil
}
