package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterCollector(migrationKind, systemType, func(s *server) driver.Collector { return migrationCollector{s} })
}

// migrationCollector captures what the version table says, and how many sessions the
// database has in which state: no text of a migration and no query.
type migrationCollector struct{ server *server }

// capturedMigration is one migration in the database as evidence.
type capturedMigration struct {
	Version int64     `json:"version"`
	Name    string    `json:"name,omitempty"`
	At      time.Time `json:"at,omitzero"`
	// Digest is of both directions as the folder has them.
	Digest string `json:"digest"`
}

// Collect captures versions, times and digests. It knows no parameter.
func (c migrationCollector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	if len(req.Params) > 0 {
		return nil, fmt.Errorf("collect %s: %w: %s knows no parameter", req.Target, driver.ErrInvalid, migrationKind)
	}
	t, err := migrations(c).target(req.Target)
	if err != nil {
		return nil, err
	}
	var present history
	sessions := map[string]string{}
	err = c.server.with(ctx, func(c *session) error {
		if present, err = t.read(ctx, c); err != nil {
			return err
		}
		rows, err := c.query(ctx, "SELECT coalesce(state, 'unknown'), pg_catalog.count(*)::text FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() GROUP BY 1")
		for _, row := range rows {
			sessions[printable(row[0].text, maxShown)] = row[1].text
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	captured := make([]capturedMigration, 0, len(present.applied))
	for _, a := range present.applied {
		m, _ := t.folder.find(a.version)
		captured = append(captured, capturedMigration{Version: a.version, Name: m.name, At: a.at, Digest: incident.DigestOf([]byte(m.digest()))})
	}
	content, err := json.MarshalIndent(struct {
		Tool    string              `json:"tool"`
		Version int64               `json:"version"`
		Dirty   bool                `json:"dirty"`
		Applied []capturedMigration `json:"applied"`
		// Sessions counts those that the credential may see, by state.
		Sessions map[string]string `json:"sessions"`
	}{t.tool.name, present.version, present.dirty, captured, sessions}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode history of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: migrationKind + " " + req.Target.Path, MediaType: "application/json", Content: content}}, nil
}
