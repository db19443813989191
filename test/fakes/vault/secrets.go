package fakevault

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Mount is where the one secrets engine is mounted, with versions.
const Mount = "secret"

// maxVersions is how many versions are kept of a secret that does not say otherwise.
// Source: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
const maxVersions = 10

// secret is one path with its versions, which are counted from 1.
type secret struct {
	versions map[int]*version
	current  int
	oldest   int
	// keep is how many versions are kept, 0 for maxVersions.
	keep int
	// required says that every write needs a check-and-set.
	required bool
	writes   int
}

type version struct {
	data      map[string]any
	created   time.Time
	deleted   time.Time
	destroyed bool
}

// gone reports whether the version can not be read any more.
func (v *version) gone(now time.Time) bool {
	return v.destroyed || !v.deleted.IsZero() && !v.deleted.After(now)
}

// spell is how times are spelled.
func spell(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Put writes a version as a third party would, and returns its number.
func (s *Server) Put(path string, data map[string]any) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(path, data)
}

func (s *Server) put(path string, data map[string]any) int {
	found := s.secrets[path]
	if found == nil {
		found = &secret{versions: map[int]*version{}}
		s.secrets[path] = found
	}
	found.current++
	found.writes++
	found.versions[found.current] = &version{data: data, created: s.now()}
	keep := found.keep
	if keep == 0 {
		keep = maxVersions
	}
	for n := range found.versions {
		if n <= found.current-keep {
			delete(found.versions, n)
		}
	}
	found.oldest = max(found.oldest, found.current-keep+1)
	return found.current
}

// Keep sets how many versions of a secret are kept.
func (s *Server) Keep(path string, versions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[path].keep = versions
}

// Require makes every write of a secret need a check-and-set.
func (s *Server) Require(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[path].required = true
}

// Delete deletes a version so that it can be undone; Destroy so that it can not.
func (s *Server) Delete(path string, number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[path].versions[number].deleted = s.now()
	s.secrets[path].writes++
}

// Destroy takes the data of a version away.
func (s *Server) Destroy(path string, number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.secrets[path].versions[number]
	v.destroyed, v.data = true, nil
	s.secrets[path].writes++
}

// Secret is the data of the newest version, nil when it is deleted, and Writes counts
// all changes of the secret.
func (s *Server) Secret(path string) (data map[string]any, writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.secrets[path]
	if found == nil {
		return nil, 0
	}
	v := found.versions[found.current]
	if v.gone(s.now()) {
		return nil, found.writes
	}
	return v.data, found.writes
}

// creates reports whether a write to a path makes something that is not there, which
// is another capability.
func (s *Server) creates(path string) bool {
	name, data := strings.CutPrefix(path, Mount+"/data/")
	return data && s.secrets[name] == nil
}

// mount tells of the engine that a path belongs to.
func (s *Server) mount(in request) {
	path := strings.TrimPrefix(in.path, "sys/internal/ui/mounts/")
	if path != Mount && !strings.HasPrefix(path, Mount+"/") {
		refuse(in, http.StatusForbidden, "preflight capability check returned 403, please ensure client's policies grant access to path \""+path+"/\"")
		return
	}
	respond(in, http.StatusOK, map[string]any{"path": Mount + "/", "type": "kv", "options": map[string]any{"version": "2"}})
}

// about is the metadata of a version.
func (v *version) about(number int) map[string]any {
	return map[string]any{
		"created_time": spell(v.created), "custom_metadata": nil, "deletion_time": spell(v.deleted), "destroyed": v.destroyed, "version": number,
	}
}

func (s *Server) data(in request, name string) {
	switch in.operation {
	case read:
		s.readData(in, name)
	case create, update:
		s.writeData(in, name)
	case remove:
		if found := s.secrets[name]; found != nil {
			found.versions[found.current].deleted = s.now()
			found.writes++
		}
		in.WriteHeader(http.StatusNoContent)
	default:
		refuse(in, http.StatusMethodNotAllowed)
	}
}

func (s *Server) readData(in request, name string) {
	found := s.secrets[name]
	if found == nil {
		refuse(in, http.StatusNotFound)
		return
	}
	number := found.current
	if asked := in.query("version"); asked != "" && asked != "0" {
		var err error
		if number, err = strconv.Atoi(asked); err != nil {
			refuse(in, http.StatusBadRequest, "error converting input for field \"version\"")
			return
		}
	}
	v := found.versions[number]
	if v == nil {
		refuse(in, http.StatusNotFound)
		return
	}
	if v.gone(s.now()) {
		respond(in, http.StatusNotFound, map[string]any{"data": nil, "metadata": v.about(number)})
		return
	}
	respond(in, http.StatusOK, map[string]any{"data": v.data, "metadata": v.about(number)})
}

func (s *Server) writeData(in request, name string) {
	var asked struct {
		Options struct {
			CAS *int `json:"cas"`
		} `json:"options"`
		Data map[string]any `json:"data"`
	}
	decoder := json.NewDecoder(bytes.NewReader(in.body))
	decoder.UseNumber() // As Vault does, so that no number loses digits.
	if decoder.Decode(&asked) != nil {
		refuse(in, http.StatusBadRequest, "failed to parse JSON input")
		return
	}
	if asked.Data == nil {
		refuse(in, http.StatusBadRequest, "no data provided")
		return
	}
	current, required := 0, false
	if found := s.secrets[name]; found != nil {
		current, required = found.current, found.required
	}
	switch {
	case asked.Options.CAS == nil && required:
		refuse(in, http.StatusBadRequest, "check-and-set parameter required for this call")
		return
	case asked.Options.CAS != nil && *asked.Options.CAS != current:
		refuse(in, http.StatusBadRequest, "check-and-set parameter did not match the current version")
		return
	}
	number := s.put(name, asked.Data)
	respond(in, http.StatusOK, s.secrets[name].versions[number].about(number))
}

func (s *Server) metadata(in request, name string) {
	found := s.secrets[name]
	if found == nil {
		refuse(in, http.StatusNotFound)
		return
	}
	versions := map[string]any{}
	updated := time.Time{}
	for n, v := range found.versions {
		versions[strconv.Itoa(n)] = map[string]any{"created_time": spell(v.created), "deletion_time": spell(v.deleted), "destroyed": v.destroyed}
		if v.created.After(updated) {
			updated = v.created
		}
	}
	respond(in, http.StatusOK, map[string]any{
		"cas_required": found.required, "created_time": spell(updated), "current_version": found.current, "custom_metadata": nil,
		"delete_version_after": "0s", "max_versions": found.keep, "oldest_version": found.oldest, "updated_time": spell(updated), "versions": versions,
	})
}
