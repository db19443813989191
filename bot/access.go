package bot

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/workflows/incident"
)

// minToken is the shortest token that is accepted, in bytes: what a person
// makes up is guessed.
const minToken = 20

// Access says who may use the API and the console. It proves a login; what the
// login may do is decided by the incident.
type Access struct {
	tokens []granted
	// local is the login of requests that come from this machine without a
	// token; empty refuses them.
	local string
}

// granted is one token, kept as its digest.
type granted struct {
	login string
	sum   [sha256.Size]byte
}

// ParseAccess reads a token file: one "login token" a line, empty lines and
// lines that begin with # left out. A login may have several tokens; a token
// that two logins share is an error. No error quotes a token.
func ParseAccess(file []byte) (*Access, error) {
	a := &Access{}
	for i, line := range strings.Split(string(file), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("parse tokens: line %d: want a login and a token", i+1)
		}
		if len(fields[1]) < minToken {
			return nil, fmt.Errorf("parse tokens: line %d: the token of %q is shorter than %d characters", i+1, fields[0], minToken)
		}
		g := granted{login: fields[0], sum: sha256.Sum256([]byte(fields[1]))}
		for _, other := range a.tokens {
			if other.sum == g.sum {
				return nil, fmt.Errorf("parse tokens: line %d: %q has the token of %q", i+1, g.login, other.login)
			}
		}
		a.tokens = append(a.tokens, g)
	}
	return a, nil
}

// WithLocal returns the same access, and that of everybody on this machine as
// the given login. Only for a machine with one user.
func (a *Access) WithLocal(login string) *Access {
	out := &Access{local: login}
	if a != nil {
		out.tokens = a.tokens
	}
	return out
}

var errNoAccess = errors.New("no access")

// login is the authenticated name of a request: by bearer token, by a token as
// the password of basic authentication, which is what browsers can send, or by
// coming from this machine.
func (a *Access) login(r *http.Request) (string, error) {
	if a == nil {
		return "", errNoAccess
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		if a.local != "" && fromHere(r) {
			return a.local, nil
		}
		return "", errNoAccess
	}
	token, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		if _, token, ok = r.BasicAuth(); !ok {
			return "", errNoAccess
		}
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	login := ""
	for _, g := range a.tokens {
		if subtle.ConstantTimeCompare(sum[:], g.sum[:]) == 1 {
			login = g.login
		}
	}
	if login == "" {
		return "", errNoAccess
	}
	return login, nil
}

// fromHere reports whether a request comes from this machine itself: not
// through a proxy that forwards for others, and not from a page whose name was
// pointed at the loopback address.
func fromHere(r *http.Request) bool {
	for _, forwarded := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(forwarded) != "" {
			return false
		}
	}
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return loopback(peer) && (host == "localhost" || loopback(strings.Trim(host, "[]")))
}

func loopback(address string) bool {
	ip := net.ParseIP(address)
	return ip != nil && ip.IsLoopback()
}

// authenticated answers only those who have access, and no request that a page
// of another origin made a browser send. The console takes sessions where there is
// a login, and tokens where there is none.
func (s *Server) authenticated(via incident.Via, next func(w http.ResponseWriter, r *http.Request, who incident.Actor)) http.HandlerFunc {
	crossOrigin := http.NewCrossOriginProtection()
	return func(w http.ResponseWriter, r *http.Request) {
		if err := crossOrigin.Check(r); err != nil {
			s.refuse(w, r, http.StatusForbidden, err)
			return
		}
		if via == incident.ViaConsole && s.opts.Login != nil {
			// Tokens are for programs: a browser keeps them for ever.
			s.withSession(w, r, func(w http.ResponseWriter, r *http.Request, seen login.Session) { next(w, r, actorOf(seen)) })
			return
		}
		name, err := s.opts.Access.login(r)
		if err != nil {
			if via == incident.ViaConsole {
				w.Header().Set("WWW-Authenticate", `Basic realm="Backout: any name, and your token as the password", charset="UTF-8"`)
			}
			s.refuse(w, r, http.StatusUnauthorized, err)
			return
		}
		next(w, r, incident.Actor{Via: via, Login: name})
	}
}
