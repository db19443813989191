package fakegithub

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/backout/backout/test/fakes/github/contract"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// GitHub's limits.
const (
	// requestsPerHour is the primary limit of a user's token.
	// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
	requestsPerHour = 5000
	// writesPerMinute is the secondary limit on requests that make content.
	// Source: as above, "About secondary rate limits".
	writesPerMinute = 80
	// maxBody is the greatest length of an issue's or comment's text, in
	// characters; GitHub answers 422 above it.
	maxBody = 65536
	// maxTitle is the greatest length of an issue's title, in characters;
	// GitHub answers 422 above it.
	maxTitle = 256
)

// docs is where GitHub's errors point to.
const docs = "https://docs.github.com/rest"

// Config says how a stand-in starts. The zero value works.
type Config struct {
	// Addr is a loopback address; empty means any free port on 127.0.0.1.
	Addr string
	// Tokens maps a token to the login that it acts as; nil means "gh-token"
	// for "backout-bot".
	Tokens map[string]string
	// ReadOnly lists logins that may not write.
	ReadOnly []string
	// Maintainers lists logins that may comment on locked issues.
	Maintainers []string
	// Grants are the permissions of logins with a fine-grained token, such as
	// "deployments: write"; a login without an entry may do everything. To write
	// includes to read.
	Grants map[string][]string
	// Deploys makes the stand-in take up what is asked of it: a deployment or a
	// run that was created through the API comes one step further each time that
	// it is read.
	Deploys bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// RequestsPerHour overrides GitHub's primary limit of 5,000.
	RequestsPerHour int
	// WritesPerMinute overrides GitHub's secondary limit of 80.
	WritesPerMinute int
	// SearchLag is how long a new issue stays out of the search index; 0
	// means one minute.
	SearchLag time.Duration
}

// Server is a running stand-in. Its methods are safe for concurrent use.
type Server struct {
	*rest.Server
	cfg Config

	mu       sync.Mutex
	repos    map[string]*repo
	teams    map[string]*Team
	sequence int64
	hour     window
	minute   window
}

// window counts requests in a fixed period.
type window struct {
	start time.Time
	used  int
}

// repo is a repository's state.
type repo struct {
	owner, name string
	id          int64
	issues      []*Issue
	comments    []*Comment
	labels      []Label
	deployments []*Deployment
	runs        []*Run
	// disabled are the paths of workflows that are turned off.
	disabled map[string]bool
	// git is the folder of the bare repository, empty when there is none.
	git string
	// protected are the branches that are, with why they take no merge now.
	protected map[string]string
	commits   []Commit
	tags      map[string]string
	releases  []Release
	files     map[string]string
	// hidden keeps it from everybody with a token.
	hidden bool
}

// New starts a stand-in with no repositories.
func New(cfg Config) (*Server, error) {
	if cfg.Tokens == nil {
		cfg.Tokens = map[string]string{"gh-token": "backout-bot"}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.RequestsPerHour = cmp.Or(cfg.RequestsPerHour, requestsPerHour)
	cfg.WritesPerMinute = cmp.Or(cfg.WritesPerMinute, writesPerMinute)
	cfg.SearchLag = cmp.Or(cfg.SearchLag, time.Minute)
	s := &Server{cfg: cfg, repos: make(map[string]*repo)}
	server, err := rest.Listen(cfg.Addr, rest.Vendor{
		Facts:     contract.Facts(),
		Root:      s.root,
		Authorize: s.authorize,
		Refuse:    refuse,
		Failure:   s.failure,
		Tolerate:  tolerate,
		Decorate:  s.decorate,
		Handlers:  s.handlers(),
		Page:      http.HandlerFunc(s.page),
	})
	if err != nil {
		return nil, fmt.Errorf("start GitHub stand-in: %w", err)
	}
	s.Server = server
	return s, nil
}

func (s *Server) handlers() map[string]func(*rest.Request) rest.Reply {
	const r = "/repos/{owner}/{repo}"
	return map[string]func(*rest.Request) rest.Reply{
		"GET /orgs/{org}/teams/{team_slug}":                        s.inTeam(s.getTeam),
		"GET /orgs/{org}/teams/{team_slug}/memberships/{username}": s.inTeam(s.getMembership),
		"GET /user":                                                 s.getUser,
		"GET " + r:                                                  s.in(s.getRepo),
		"GET " + r + "/issues":                                      s.in(s.listIssues),
		"POST " + r + "/issues":                                     s.in(s.createIssue),
		"GET " + r + "/issues/{issue_number}":                       s.in(s.getIssue),
		"PATCH " + r + "/issues/{issue_number}":                     s.in(s.updateIssue),
		"GET " + r + "/issues/{issue_number}/comments":              s.in(s.listComments),
		"POST " + r + "/issues/{issue_number}/comments":             s.in(s.createComment),
		"PATCH " + r + "/issues/comments/{comment_id}":              s.in(s.updateComment),
		"GET /search/issues":                                        s.searchIssues,
		"GET " + r + "/deployments":                                 s.in(s.listDeployments),
		"POST " + r + "/deployments":                                s.in(s.createDeployment),
		"GET " + r + "/deployments/{deployment_id}":                 s.in(s.getDeployment),
		"DELETE " + r + "/deployments/{deployment_id}":              s.in(s.deleteDeployment),
		"GET " + r + "/deployments/{deployment_id}/statuses":        s.in(s.listStatuses),
		"POST " + r + "/deployments/{deployment_id}/statuses":       s.in(s.createStatus),
		"GET " + r + "/branches/{branch}":                           s.inGit(s.getBranch),
		"GET " + r + "/git/commits/{commit_sha}":                    s.inGit(s.getGitCommit),
		"POST " + r + "/git/commits":                                s.inGit(s.createGitCommit),
		"GET " + r + "/git/trees/{tree_sha}":                        s.inGit(s.getTree),
		"POST " + r + "/git/trees":                                  s.inGit(s.createTree),
		"GET " + r + "/git/ref/{ref}":                               s.inGit(s.getRef),
		"POST " + r + "/git/refs":                                   s.inGit(s.createRef),
		"PATCH " + r + "/git/refs/{ref}":                            s.inGit(s.updateRef),
		"DELETE " + r + "/git/refs/{ref}":                           s.inGit(s.deleteRef),
		"GET " + r + "/pulls":                                       s.in(s.listPulls),
		"POST " + r + "/pulls":                                      s.inGit(s.createPull),
		"PATCH " + r + "/pulls/{pull_number}":                       s.inGit(s.updatePull),
		"PUT " + r + "/pulls/{pull_number}/merge":                   s.inGit(s.mergePull),
		"GET " + r + "/pulls/{pull_number}":                         s.in(s.getPull),
		"GET " + r + "/commits":                                     s.in(s.listCommits),
		"GET " + r + "/commits/{ref}":                               s.in(s.getCommit),
		"GET " + r + "/compare/{basehead}":                          s.in(s.compare),
		"GET " + r + "/releases":                                    s.in(s.listReleases),
		"GET " + r + "/contents/{path}":                             s.in(s.getContents),
		"PUT " + r + "/contents/{path}":                             s.inGit(s.putContents),
		"GET " + r + "/actions/workflows/{workflow_id}":             s.in(s.getWorkflow),
		"POST " + r + "/actions/workflows/{workflow_id}/dispatches": s.in(s.dispatch),
		"GET " + r + "/actions/workflows/{workflow_id}/runs":        s.in(s.listRuns),
		"GET " + r + "/actions/runs/{run_id}/jobs":                  s.in(s.listJobs),
		"POST " + r + "/actions/runs/{run_id}/cancel":               s.in(s.cancelRun),
		"GET " + r + "/labels":                                      s.in(s.listLabels),
		"POST " + r + "/labels":                                     s.in(s.createLabel),
	}
}

// AddRepo adds a repository by its full name, "owner/name".
func (s *Server) AddRepo(full string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repo(full)
}

// repo returns a repository and makes it when there is none.
func (s *Server) repo(full string) *repo {
	key := strings.ToLower(full)
	if s.repos[key] == nil {
		owner, name, _ := strings.Cut(full, "/")
		s.repos[key] = &repo{owner: owner, name: name, id: s.newID(), tags: make(map[string]string), files: make(map[string]string), disabled: make(map[string]bool), protected: make(map[string]string)}
	}
	return s.repos[key]
}

// in finds the request's repository and serves under the lock.
func (s *Server) in(serve func(*rest.Request, *repo) rest.Reply) func(*rest.Request) rest.Reply {
	return func(r *rest.Request) rest.Reply {
		s.mu.Lock()
		defer s.mu.Unlock()
		found := s.repos[strings.ToLower(r.Vars["owner"]+"/"+r.Vars["repo"])]
		if found == nil || found.hidden {
			return notFound()
		}
		return serve(r, found)
	}
}

// authorize accepts "Bearer <token>" and "token <token>".
func (s *Server) authorize(r *http.Request, op *rest.Operation) (string, *rest.Reply) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	login := s.cfg.Tokens[token]
	if token == "" {
		reply := message(http.StatusUnauthorized, "Requires authentication")
		return "", &reply
	}
	if login == "" || (!strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "token")) {
		reply := message(http.StatusUnauthorized, "Bad credentials")
		return "", &reply
	}
	if limited := s.limit(r.Method != http.MethodGet); limited != nil {
		return "", limited
	}
	if (r.Method != http.MethodGet && slices.Contains(s.cfg.ReadOnly, login)) || !s.granted(login, op) {
		reply := message(http.StatusForbidden, "Resource not accessible by personal access token")
		return "", &reply
	}
	return login, nil
}

// limit applies the primary and the secondary limit.
func (s *Server) limit(write bool) *rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	s.hour.roll(now, time.Hour)
	s.minute.roll(now, time.Minute)
	s.hour.used++
	if s.hour.used > s.cfg.RequestsPerHour {
		reply := message(http.StatusForbidden, "API rate limit exceeded for user ID 1.")
		reply.Header = http.Header{"X-Ratelimit-Remaining": {"0"}}
		return &reply
	}
	if !write {
		return nil
	}
	s.minute.used++
	if s.minute.used <= s.cfg.WritesPerMinute {
		return nil
	}
	reply := SecondaryLimit(s.minute.start.Add(time.Minute).Sub(now))
	return &reply
}

// SecondaryLimit is GitHub's answer above a secondary limit.
func SecondaryLimit(after time.Duration) rest.Reply {
	return rest.Reply{
		Status: http.StatusForbidden,
		Header: http.Header{"Retry-After": {strconv.Itoa(max(1, int(after.Seconds())))}},
		Body: object{
			"message":           "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
			"documentation_url": docs + "/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
		},
	}
}

func (w *window) roll(now time.Time, period time.Duration) {
	if w.start.IsZero() || now.Sub(w.start) >= period {
		w.start, w.used = now, 0
	}
}

func (s *Server) decorate(h http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.Set("X-Ratelimit-Limit", strconv.Itoa(s.cfg.RequestsPerHour))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(max(0, s.cfg.RequestsPerHour-s.hour.used)))
	h.Set("X-Ratelimit-Used", strconv.Itoa(s.hour.used))
	h.Set("X-Ratelimit-Resource", "core")
	h.Set("X-Ratelimit-Reset", strconv.FormatInt(s.hour.start.Add(time.Hour).Unix(), 10))
}

// tolerate lists where GitHub accepts what its document refuses.
func tolerate(_ *rest.Operation, p rest.Problem) bool {
	// GitHub clamps a page size that is too large.
	return p.In == "query" && p.Field == "per_page" && p.Code == rest.OutOfRange
}

// refuse is GitHub's 422 with the list of errors.
func refuse(op *rest.Operation, problems []rest.Problem) rest.Reply {
	resource := "Issue"
	switch {
	case strings.Contains(op.Path, "/statuses"):
		resource = "DeploymentStatus"
	case strings.Contains(op.Path, "/deployments"):
		resource = "Deployment"
	case strings.Contains(op.Path, "/labels"):
		resource = "Label"
	case strings.Contains(op.Path, "/search/"):
		resource = "Search"
	}
	list := make([]object, 0, len(problems))
	for _, p := range problems {
		code := "invalid"
		if p.Code == rest.Missing {
			code = "missing_field"
		}
		list = append(list, object{"resource": resource, "field": p.Field, "code": code})
	}
	return invalid(list...)
}

// invalid is GitHub's 422 envelope.
func invalid(list ...object) rest.Reply {
	return rest.Reply{Status: http.StatusUnprocessableEntity, Body: object{
		"message": "Validation Failed", "errors": list, "documentation_url": docs,
	}}
}

func custom(resource, field, text string) object {
	return object{"resource": resource, "field": field, "code": "custom", "message": text}
}

func (s *Server) failure(status int) rest.Reply {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return notFound()
	case http.StatusBadRequest:
		return message(status, "Problems parsing JSON")
	case http.StatusUnauthorized:
		return message(status, "Bad credentials")
	case http.StatusForbidden:
		return message(status, "Resource not accessible by personal access token")
	case http.StatusTooManyRequests:
		reply := SecondaryLimit(time.Minute)
		reply.Status = status
		return reply
	default:
		return message(status, http.StatusText(status))
	}
}

func notFound() rest.Reply { return message(http.StatusNotFound, "Not Found") }

func message(status int, text string) rest.Reply {
	return rest.Reply{Status: status, Body: object{"message": text, "documentation_url": docs, "status": strconv.Itoa(status)}}
}

// object is a JSON object.
type object = map[string]any

func ok(body any) rest.Reply { return rest.Reply{Status: http.StatusOK, Body: body} }

func created(body any) rest.Reply { return rest.Reply{Status: http.StatusCreated, Body: body} }

func (s *Server) newID() int64 {
	s.sequence++
	return 1000 + s.sequence
}

func node(kind string, id int64) string { return fmt.Sprintf("%s_%d", kind, id) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// orNull is a timestamp or null.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

// Page sizes.
// Source: https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
const (
	defaultPage = 30
	maxPage     = 100
)

// paginate cuts a list as GitHub does and sets the Link header.
func paginate[T any](s *Server, r *rest.Request, all []T, render func(T) object) ([]object, http.Header) {
	size, page := defaultPage, 1
	if n, err := strconv.Atoi(r.Query.Get("per_page")); err == nil && n > 0 {
		size = min(n, maxPage)
	}
	if n, err := strconv.Atoi(r.Query.Get("page")); err == nil && n > 0 {
		page = n
	}
	out := []object{}
	for i := (page - 1) * size; i < len(all) && i < page*size; i++ {
		out = append(out, render(all[i]))
	}
	last := max(1, (len(all)+size-1)/size)
	var links []string
	link := func(to int, rel string) {
		query := r.URL.Query()
		query.Set("page", strconv.Itoa(to))
		links = append(links, fmt.Sprintf("<%s%s?%s>; rel=%q", s.URL(), r.URL.Path, query.Encode(), rel))
	}
	if page > 1 {
		link(page-1, "prev")
	}
	if page < last {
		link(page+1, "next")
		link(last, "last")
	}
	if page > 1 {
		link(1, "first")
	}
	if len(links) == 0 {
		return out, nil
	}
	return out, http.Header{"Link": {strings.Join(links, ", ")}}
}

func list[T any](s *Server, r *rest.Request, all []T, render func(T) object) rest.Reply {
	page, header := paginate(s, r, all, render)
	return rest.Reply{Status: http.StatusOK, Header: header, Body: page}
}
