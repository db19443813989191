package fakevault

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Lease is one lease that lives.
type Lease struct {
	ID          string
	Issued      time.Time
	Expires     time.Time
	Renewable   bool
	LastRenewal time.Time
	Unrevocable bool
}

// Issue adds a lease.
func (s *Server) Issue(id string, life time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.leases[id] = &Lease{ID: id, Issued: now, Expires: now.Add(life), Renewable: true}
	s.changes++
	s.revoking = false
}

// Stick makes a lease one that can not be revoked, as one whose engine is away.
func (s *Server) Stick(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases[id].Unrevocable = true
}

// Leases are the IDs of the leases that live below a prefix, sorted.
func (s *Server) Leases(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for _, id := range slices.Sorted(maps.Keys(s.leases)) {
		if strings.HasPrefix(id, prefix) {
			found = append(found, id)
		}
	}
	return found
}

// Newest is the newest lease below a prefix, empty when there is none.
func (s *Server) Newest(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := &Lease{}
	for id, l := range s.leases {
		if strings.HasPrefix(id, prefix) && (l.Issued.After(newest.Issued) || l.Issued.Equal(newest.Issued) && id > newest.ID) {
			newest = l
		}
	}
	return newest.ID
}

// Changes counts the leases that were issued, and the runs of revocations that no
// issue stands between.
func (s *Server) Changes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// Revocations is how often each lease was revoked.
func (s *Server) Revocations() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.revocations)
}

// lookup tells of one lease.
func (s *Server) lookup(in request) {
	var asked struct {
		ID string `json:"lease_id"`
	}
	if json.Unmarshal(in.body, &asked) != nil || asked.ID == "" {
		refuse(in, http.StatusBadRequest, "lease_id must be specified")
		return
	}
	l := s.leases[asked.ID]
	if l == nil {
		refuse(in, http.StatusBadRequest, "invalid lease")
		return
	}
	var renewed any
	if !l.LastRenewal.IsZero() {
		renewed = spell(l.LastRenewal)
	}
	respond(in, http.StatusOK, map[string]any{
		"id": l.ID, "issue_time": spell(l.Issued), "expire_time": spell(l.Expires), "last_renewal": renewed,
		"renewable": l.Renewable, "ttl": int(l.Expires.Sub(s.now()).Seconds()),
	})
}

// leasesBelow lists what is below a prefix, one level deep: leases, and folders with
// a slash.
func (s *Server) leasesBelow(in request) {
	prefix := strings.TrimSuffix(strings.TrimPrefix(in.path, "sys/leases/lookup/"), "/") + "/"
	keys := map[string]struct{}{}
	for id := range s.leases {
		if rest, ok := strings.CutPrefix(id, prefix); ok {
			name, _, folder := strings.Cut(rest, "/")
			if folder {
				name += "/"
			}
			keys[name] = struct{}{}
		}
	}
	if len(keys) == 0 {
		refuse(in, http.StatusNotFound)
		return
	}
	respond(in, http.StatusOK, map[string]any{"keys": slices.Sorted(maps.Keys(keys))})
}

// revoke ends one lease; one that is not there is ended already.
func (s *Server) revoke(in request) {
	var asked struct {
		ID   string `json:"lease_id"`
		Sync bool   `json:"sync"`
	}
	if json.Unmarshal(in.body, &asked) != nil || asked.ID == "" {
		refuse(in, http.StatusBadRequest, "lease_id must be specified")
		return
	}
	l := s.leases[asked.ID]
	switch {
	case l == nil:
	case l.Unrevocable:
		refuse(in, http.StatusBadRequest, "failed to revoke lease: the engine is away")
		return
	default:
		if !s.revoking {
			s.changes++
		}
		s.revoking = true
		delete(s.leases, asked.ID)
		s.revocations[asked.ID]++
	}
	if asked.Sync {
		in.WriteHeader(http.StatusNoContent)
		return
	}
	in.WriteHeader(http.StatusAccepted)
}
