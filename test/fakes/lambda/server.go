package fakelambda

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Region is the region of a Server, and account its account.
const (
	Region  = "eu-central-1"
	account = "123456789012"
)

// maxBody is the greatest request that is read, in bytes.
const maxBody = 1 << 20

// Key is a credential with the actions that its policies allow, such as
// "lambda:GetAlias"; nil allows all.
type Key struct {
	ID, Secret string
	// Token is the session token of a temporary key; empty for another.
	Token string
	Allow []string
}

// Version is one published version.
type Version struct {
	Number    int
	Published time.Time
	// State is "Active", "Inactive", "Pending" or "Failed".
	State string
}

// Alias is where an alias points to.
type Alias struct {
	Version string
	// Weights are the shares of a second version, at most one.
	Weights     map[string]float64
	RevisionID  string
	Description string
	// Updates counts how often it was updated.
	Updates int
}

// Server is a running stand-in. Its methods are safe for concurrent use.
type Server struct {
	http *httptest.Server
	now  func() time.Time

	mu        sync.Mutex
	keys      map[string]Key
	functions map[string]*function
	// throttled is how many requests are refused from now on.
	throttled int
	// conflicts is how many updates are refused from now on.
	conflicts int
}

type function struct {
	versions []Version
	aliases  map[string]*Alias
	// environment is shown with every configuration.
	environment map[string]string
}

// New starts a stand-in with no functions. A nil clock is time.Now.
func New(now func() time.Time, keys ...Key) *Server {
	if now == nil {
		now = time.Now
	}
	s := &Server{now: now, keys: map[string]Key{}, functions: map[string]*function{}}
	for _, key := range keys {
		s.keys[key.ID] = key
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2015-03-31/functions/{function}/aliases/{alias}", s.allowed("lambda:GetAlias", s.getAlias))
	mux.HandleFunc("PUT /2015-03-31/functions/{function}/aliases/{alias}", s.allowed("lambda:UpdateAlias", s.updateAlias))
	mux.HandleFunc("GET /2015-03-31/functions/{function}/versions", s.allowed("lambda:ListVersionsByFunction", s.listVersions))
	mux.HandleFunc("GET /2015-03-31/functions/{function}/configuration", s.allowed("lambda:GetFunctionConfiguration", s.getConfiguration))
	mux.HandleFunc("GET /2016-08-19/account-settings", s.allowed("lambda:GetAccountSettings", s.accountSettings))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "UnknownOperationException", "")
	})
	s.http = httptest.NewServer(mux)
	return s
}

// URL is the endpoint.
func (s *Server) URL() string { return s.http.URL }

// Address is the host and port of URL.
func (s *Server) Address() string { return s.http.Listener.Addr().(*net.TCPAddr).String() }

// Close ends it.
func (s *Server) Close() { s.http.Close() }

func revision() string { return uuid(rand.Text()) }

func uuid(text string) string {
	return strings.ToLower(text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[14:26])
}

func qualified(name string) string {
	return "arn:aws:lambda:" + Region + ":" + account + ":function:" + name
}

// AddFunction adds a function with an environment and no version.
func (s *Server) AddFunction(name string, environment map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.functions[name] = &function{aliases: map[string]*Alias{}, environment: environment}
}

// Publish adds the next version of a function and returns its number.
func (s *Server) Publish(name string, at time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.functions[name]
	number := 1
	if len(f.versions) > 0 {
		number = f.versions[len(f.versions)-1].Number + 1
	}
	f.versions = append(f.versions, Version{Number: number, Published: at, State: "Active"})
	return number
}

// Edit changes a version; one that is not there is let be.
func (s *Server) Edit(name string, number int, change func(v *Version)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.functions[name].versions {
		if v := &s.functions[name].versions[n]; v.Number == number {
			change(v)
		}
	}
}

// Remove deletes a version.
func (s *Server) Remove(name string, number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.functions[name]
	f.versions = slices.DeleteFunc(f.versions, func(v Version) bool { return v.Number == number })
}

// Point points an alias to a version, as a third party would.
func (s *Server) Point(name, alias, description string, number int, weights map[string]float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.functions[name].aliases[alias]
	if a == nil {
		a = &Alias{}
		s.functions[name].aliases[alias] = a
	}
	a.Version, a.Weights, a.RevisionID, a.Description = strconv.Itoa(number), weights, revision(), description
	a.Updates++
}

// PointToLatest points an alias to what is not a version.
func (s *Server) PointToLatest(name, alias string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.functions[name].aliases[alias] = &Alias{Version: "$LATEST", RevisionID: revision()}
}

// Alias is a copy of an alias.
func (s *Server) Alias(name, alias string) Alias {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.functions[name].aliases[alias]
}

// Throttle refuses the next requests.
func (s *Server) Throttle(requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttled = requests
}

// Conflict refuses the next updates, as while another operation is under way.
func (s *Server) Conflict(updates int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conflicts = updates
}

// handler answers one request; the lock is held.
type handler func(w http.ResponseWriter, r *http.Request, body []byte)

// allowed verifies the signature and the policies before it answers.
func (s *Server) allowed(action string, answer handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err != nil {
			return // Whoever asked has left.
		}
		w.Header().Set("X-Amzn-Requestid", uuid(rand.Text()))
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.throttled > 0 {
			s.throttled--
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
			return
		}
		key, code := s.verify(r, body)
		if code != "" {
			refuse(w, http.StatusForbidden, code, "The security token included in the request is invalid.")
			return
		}
		if key.Allow != nil && !slices.Contains(key.Allow, action) {
			refuse(w, http.StatusForbidden, "AccessDeniedException", fmt.Sprintf("User: arn:aws:iam::%s:user/%s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action", account, key.ID, action, qualified(r.PathValue("function")), action))
			return
		}
		answer(w, r, body)
	}
}

// refuse answers with an error as Lambda spells it.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Amzn-Errortype", code)
	who := "User"
	if status >= http.StatusInternalServerError {
		who = "Service"
	}
	respond(w, status, map[string]string{"Type": who, "Message": message})
}

func respond(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // Whoever asked may have left.
}

// find is the function and the alias of a request; it refuses what is not there.
func (s *Server) find(w http.ResponseWriter, r *http.Request, alias bool) (*function, *Alias) {
	name := r.PathValue("function")
	f := s.functions[name]
	if f == nil {
		refuse(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+qualified(name))
		return nil, nil
	}
	if !alias {
		return f, nil
	}
	a := f.aliases[r.PathValue("alias")]
	if a == nil {
		refuse(w, http.StatusNotFound, "ResourceNotFoundException", "Cannot find alias arn: "+qualified(name)+":"+r.PathValue("alias"))
		return nil, nil
	}
	return f, a
}

// aliasAnswer is AliasConfiguration.
type aliasAnswer struct {
	AliasArn        string
	Name            string
	FunctionVersion string
	Description     string
	RevisionID      string   `json:"RevisionId"`
	RoutingConfig   *routing `json:",omitempty"`
}

type routing struct{ AdditionalVersionWeights map[string]float64 }

func show(r *http.Request, a *Alias) aliasAnswer {
	shown := aliasAnswer{
		AliasArn: qualified(r.PathValue("function")) + ":" + r.PathValue("alias"), Name: r.PathValue("alias"),
		FunctionVersion: a.Version, Description: a.Description, RevisionID: a.RevisionID,
	}
	if len(a.Weights) > 0 {
		shown.RoutingConfig = &routing{a.Weights}
	}
	return shown
}

func (s *Server) getAlias(w http.ResponseWriter, r *http.Request, _ []byte) {
	if _, a := s.find(w, r, true); a != nil {
		respond(w, http.StatusOK, show(r, a))
	}
}

// updateAlias changes what the request names and leaves the rest as it is.
func (s *Server) updateAlias(w http.ResponseWriter, r *http.Request, body []byte) {
	f, a := s.find(w, r, true)
	if a == nil {
		return
	}
	var request struct {
		Description     *string
		FunctionVersion *string
		RevisionID      *string `json:"RevisionId"`
		RoutingConfig   *routing
	}
	if json.Unmarshal(body, &request) != nil {
		refuse(w, http.StatusBadRequest, "InvalidParameterValueException", "Could not parse request body into json")
		return
	}
	next := *a
	if request.FunctionVersion != nil {
		next.Version = *request.FunctionVersion
	}
	if request.Description != nil {
		next.Description = *request.Description
	}
	if request.RoutingConfig != nil {
		next.Weights = request.RoutingConfig.AdditionalVersionWeights
	}
	switch status, code, message := f.problem(r, next); {
	case code != "":
		refuse(w, status, code, message)
		return
	case request.RevisionID != nil && *request.RevisionID != a.RevisionID:
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")
		return
	case s.conflicts > 0:
		s.conflicts--
		refuse(w, http.StatusConflict, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource: "+qualified(r.PathValue("function")))
		return
	}
	next.RevisionID = revision()
	next.Updates++
	*a = next
	respond(w, http.StatusOK, show(r, a))
}

// problem is why an alias can not be like this.
func (f *function) problem(r *http.Request, next Alias) (status int, code, message string) {
	exists := func(version string) bool {
		return slices.ContainsFunc(f.versions, func(v Version) bool { return strconv.Itoa(v.Number) == version })
	}
	const invalid = "InvalidParameterValueException"
	if next.Version != "$LATEST" && !exists(next.Version) {
		return http.StatusNotFound, "ResourceNotFoundException", "Function not found: " + qualified(r.PathValue("function")) + ":" + next.Version
	}
	if len(next.Weights) > 1 {
		return http.StatusBadRequest, invalid, "Number of items in AdditionalVersionWeights cannot be greater than 1"
	}
	for version, weight := range next.Weights {
		switch {
		case next.Version == "$LATEST" || version == "$LATEST":
			return http.StatusBadRequest, invalid, "$LATEST is not supported for an alias pointing to more than 1 version"
		case version == next.Version:
			return http.StatusBadRequest, invalid, fmt.Sprintf("Invalid function version %s. Function version %s is already included in routing configuration.", version, version)
		case weight < 0 || weight > 1:
			return http.StatusBadRequest, invalid, "Value at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: weights must be between 0.0 and 1.0"
		case !exists(version):
			return http.StatusNotFound, "ResourceNotFoundException", "Function not found: " + qualified(r.PathValue("function")) + ":" + version
		}
	}
	return 0, "", ""
}

// configuration is FunctionConfiguration, with what may be secret in it.
func (f *function) configuration(name string, v Version) map[string]any {
	version := "$LATEST"
	if v.Number > 0 {
		version = strconv.Itoa(v.Number)
	}
	return map[string]any{
		"FunctionName": name, "FunctionArn": qualified(name) + ":" + version, "Version": version,
		"LastModified": v.Published.UTC().Format("2006-01-02T15:04:05.000-0700"),
		"CodeSha256":   "sha-of-" + version, "State": cmp.Or(v.State, "Active"), "Runtime": "provided.al2023",
		"Role": "arn:aws:iam::" + account + ":role/" + name, "Timeout": 3, "MemorySize": 128,
		"Environment": map[string]any{"Variables": f.environment},
	}
}

// pageSize is Lambda's greatest page of versions, and the default.
const pageSize = 50

func (s *Server) listVersions(w http.ResponseWriter, r *http.Request, _ []byte) {
	f, _ := s.find(w, r, false)
	if f == nil {
		return
	}
	// $LATEST comes first.
	all := append([]Version{{}}, f.versions...)
	from, _ := strconv.Atoi(r.URL.Query().Get("Marker"))
	to := min(from+pageSize, len(all))
	answer := map[string]any{}
	page := []any{}
	for _, v := range all[min(from, to):to] {
		page = append(page, f.configuration(r.PathValue("function"), v))
	}
	answer["Versions"] = page
	if to < len(all) {
		answer["NextMarker"] = strconv.Itoa(to)
	}
	respond(w, http.StatusOK, answer)
}

func (s *Server) getConfiguration(w http.ResponseWriter, r *http.Request, _ []byte) {
	f, _ := s.find(w, r, false)
	if f == nil {
		return
	}
	qualifier := cmp.Or(r.URL.Query().Get("Qualifier"), "$LATEST")
	for _, v := range append([]Version{{}}, f.versions...) {
		shown := f.configuration(r.PathValue("function"), v)
		if shown["Version"] == qualifier {
			respond(w, http.StatusOK, shown)
			return
		}
	}
	refuse(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+qualified(r.PathValue("function"))+":"+qualifier)
}

func (s *Server) accountSettings(w http.ResponseWriter, _ *http.Request, _ []byte) {
	respond(w, http.StatusOK, map[string]any{"AccountLimit": map[string]any{"TotalCodeSize": 80530636800}, "AccountUsage": map[string]any{"FunctionCount": len(s.functions)}})
}
