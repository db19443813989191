package exec

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// collectKind is the name of the collector.
const collectKind = "exec.collect"

// Bounds of the settings that a runbook hands on. They are those of the schema.
const (
	maxParams = 20
	maxParam  = 4000
)

func init() {
	driver.RegisterCollector(collectKind, systemType, func(p *program) driver.Collector { return collector{p} })
	driver.RegisterParams(collectKind, checkParams)
}

// collector asks a program for evidence.
type collector struct{ program *program }

// Collect asks the program, and hands the parameters on to it as they are.
func (c collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	if err := checkParams(req.Target, req.Params); err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	a, secrets, err := c.program.asked(ctx, question{
		Verb: verbCollect, Path: req.Target.Path, Window: &windowOf{Since: req.From.UTC(), Until: req.Until.UTC()}, Params: req.Params,
	})
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, final(err))
	}
	docs := make([]driver.Evidence, 0, len(*a.Evidence))
	for _, d := range *a.Evidence {
		content := []byte(d.Text)
		if d.Base64 != "" {
			if content, err = base64.StdEncoding.DecodeString(d.Base64); err != nil {
				return nil, fmt.Errorf("collect %s: %w", req.Target, final(violation("a document is not base64")))
			}
			for _, s := range secrets {
				for _, spelling := range spellings(s) {
					if strings.Contains(string(content), spelling) {
						return nil, fmt.Errorf("collect %s: %w", req.Target, final(violation("a document holds a secret of the program's environment")))
					}
				}
			}
		}
		docs = append(docs, driver.Evidence{Name: collectKind + " " + req.Target.Path + " " + line(d.Name), MediaType: d.MediaType, Content: content})
	}
	if len(docs) == 0 {
		return nil, fmt.Errorf("collect %s: %w", req.Target, errors.New("the program found nothing"))
	}
	return docs, nil
}

// checkParams bounds what is handed on. What the parameters mean only the program knows.
func checkParams(target incident.Target, params map[string]string) error {
	if err := checkTarget(target); err != nil {
		return err
	}
	if len(params) > maxParams {
		return fmt.Errorf("%w: it has more than %d parameters", driver.ErrInvalid, maxParams)
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if len(params[name]) > maxParam {
			return &driver.ParamError{Param: name, Reason: fmt.Sprintf("it is longer than %d bytes", maxParam)}
		}
	}
	return nil
}
