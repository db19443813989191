package fakeslack

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/test/fakes/slack/contract"
)

// call is one request to the Web API, past authentication.
type call struct {
	method string
	args   arguments
	now    time.Time
}

// answer is the body of a successful response, without ok.
type answer map[string]any

// refusal is an answer with ok false. A nil refusal is a success.
type refusal struct {
	code     string
	messages []string
	extra    map[string]any
}

func refuse(code string, messages ...string) *refusal {
	return &refusal{code: code, messages: messages}
}

// handler does the work of one method under the server's lock.
type handler func(*Server, *call) (answer, *refusal)

// handlers are the methods that the stand-in knows how to do.
var handlers = map[string]handler{
	"api.test":                     (*Server).apiTest,
	"apps.connections.open":        (*Server).connectionsOpen,
	"auth.test":                    (*Server).authTest,
	"bookmarks.add":                (*Server).bookmarksAdd,
	"chat.delete":                  (*Server).chatDelete,
	"chat.getPermalink":            (*Server).chatGetPermalink,
	"chat.postEphemeral":           (*Server).chatPostEphemeral,
	"chat.postMessage":             (*Server).chatPostMessage,
	"chat.update":                  (*Server).chatUpdate,
	"conversations.create":         (*Server).conversationsCreate,
	"conversations.history":        (*Server).conversationsHistory,
	"conversations.info":           (*Server).conversationsInfo,
	"conversations.invite":         (*Server).conversationsInvite,
	"conversations.join":           (*Server).conversationsJoin,
	"conversations.list":           (*Server).conversationsList,
	"conversations.members":        (*Server).conversationsMembers,
	"conversations.replies":        (*Server).conversationsReplies,
	"conversations.setTopic":       (*Server).conversationsSetTopic,
	"files.completeUploadExternal": (*Server).filesCompleteUpload,
	"files.getUploadURLExternal":   (*Server).filesGetUploadURL,
	"pins.add":                     (*Server).pinsAdd,
	"reactions.add":                (*Server).reactionsAdd,
	"usergroups.users.list":        (*Server).userGroupUsers,
	"users.info":                   (*Server).usersInfo,
	"users.list":                   (*Server).usersList,
	"users.lookupByEmail":          (*Server).usersLookupByEmail,
	"views.open":                   (*Server).viewsOpen,
	"views.publish":                (*Server).viewsPublish,
	"views.push":                   (*Server).viewsPush,
	"views.update":                 (*Server).viewsUpdate,
}

// serveAPI answers one call in the order in which Slack looks at it: fault,
// method, token, rate, scope, arguments, effect.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	method := r.PathValue("method")
	args, token, problem := readArguments(w, r)

	s.mu.Lock()
	fault := s.takeFault(method)
	s.mu.Unlock()
	if fault != nil {
		if fault.Delay > 0 {
			select {
			case <-time.After(fault.Delay):
			case <-r.Context().Done():
			case <-s.lifetime.Done():
			}
		}
		if fault.Status != 0 || fault.SlackError != "" {
			s.record(method, args, fault.code())
			writeFault(w, fault)
			return
		}
	}

	body, refused, wait := s.perform(method, args, token, problem)
	if fault != nil && fault.DropResponse {
		panic(http.ErrAbortHandler) // The effect is done; the connection ends without an answer.
	}
	w.Header().Set("X-OAuth-Scopes", strings.Join(s.opts.Scopes, ","))
	switch {
	case wait > 0:
		writeRateLimited(w, wait)
	case refused != nil:
		s.opts.Logger.Info("refuse call", "method", method, "error", refused.code, "messages", refused.messages)
		writeRefusal(w, http.StatusOK, refused)
	default:
		if body == nil {
			body = answer{}
		}
		body["ok"] = true
		writeJSON(w, http.StatusOK, body)
	}
}

// perform checks and does one call. It returns a wait when the caller is too fast.
func (s *Server) perform(method string, args arguments, token string, problem *refusal) (answer, *refusal, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now()
	facts, known := contract.Lookup(method)
	do, able := handlers[method]
	body, refused, wait := answer(nil), (*refusal)(nil), time.Duration(0)
	switch {
	case !known || !able:
		refused = refuse("unknown_method")
	case problem != nil:
		refused = problem
	default:
		refused = s.authorize(method, token)
		if refused == nil {
			wait = s.limiter.take(now, method, facts.Tier, args.text("channel"))
		}
		if refused == nil && wait == 0 {
			refused = s.checkScopes(method, facts, args)
		}
		if refused == nil && wait == 0 {
			refused = checkArguments(facts, args)
		}
		if refused == nil && wait == 0 {
			body, refused = do(s, &call{method: method, args: args, now: now})
		}
	}
	code := ""
	if refused != nil {
		code = refused.code
	}
	if wait > 0 {
		code = "ratelimited"
	}
	s.recordLocked(method, args, code)
	s.notify()
	return body, refused, wait
}

// authorize checks the token: none, unknown, revoked or of the wrong kind.
func (s *Server) authorize(method, token string) *refusal {
	want := s.opts.BotToken
	if method == "apps.connections.open" {
		want = s.opts.AppToken
	}
	switch {
	case method == "api.test":
		return nil
	case token == "":
		return refuse("not_authed")
	case s.revoked[token]:
		return refuse("token_revoked")
	case token == want:
		return nil
	case token == s.opts.BotToken || token == s.opts.AppToken:
		return refuse("not_allowed_token_type")
	default:
		return refuse("invalid_auth")
	}
}

// checkScopes refuses a call that no scope of the token opens. Methods on a
// conversation need the scope of its kind: channels:* or groups:*.
func (s *Server) checkScopes(method string, facts contract.Method, args arguments) *refusal {
	accepted := facts.Scopes
	if strings.HasPrefix(method, "conversations.") {
		prefix := "channels:"
		if c := s.world.channels[args.text("channel")]; c != nil && c.IsPrivate {
			prefix = "groups:"
		}
		if private, _ := strconv.ParseBool(args.text("is_private")); private {
			prefix = "groups:"
		}
		accepted = slices.DeleteFunc(slices.Clone(accepted), func(scope string) bool {
			return !strings.HasPrefix(scope, prefix)
		})
	}
	if len(accepted) == 0 {
		return nil
	}
	for _, scope := range accepted {
		if slices.Contains(s.opts.Scopes, scope) {
			return nil
		}
	}
	refused := refuse("missing_scope")
	refused.extra = map[string]any{
		"needed": strings.Join(accepted, ","), "provided": strings.Join(s.opts.Scopes, ","),
	}
	return refused
}

// checkArguments refuses missing, unknown and ill-typed arguments.
func checkArguments(facts contract.Method, args arguments) *refusal {
	var messages []string
	for _, name := range slices.Sorted(maps.Keys(args)) {
		arg, known := facts.Args[name]
		if !known {
			messages = append(messages, fmt.Sprintf("[ERROR] unknown argument [json-pointer:/%s]", name))
			continue
		}
		if !args[name].fits(arg.Types) {
			messages = append(messages, fmt.Sprintf("[ERROR] must be of type %s [json-pointer:/%s]",
				strings.Join(arg.Types, " or "), name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(facts.Args)) {
		if _, given := args[name]; facts.Args[name].Required && !given {
			messages = append(messages, "[ERROR] missing required field: "+name)
		}
	}
	if len(messages) > 0 {
		return refuse("invalid_arguments", messages...)
	}
	return nil
}

func writeRefusal(w http.ResponseWriter, status int, refused *refusal) {
	body := map[string]any{"ok": false, "error": refused.code}
	if len(refused.messages) > 0 {
		body["response_metadata"] = map[string]any{"messages": refused.messages}
	}
	maps.Copy(body, refused.extra)
	writeJSON(w, status, body)
}

func writeRateLimited(w http.ResponseWriter, wait time.Duration) {
	seconds := max(1, int(math.Ceil(wait.Seconds())))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	writeJSON(w, http.StatusTooManyRequests, map[string]any{"ok": false, "error": "ratelimited"})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // A caller that went away is its own problem.
}
