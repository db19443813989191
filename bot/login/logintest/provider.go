package logintest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Client ID and secret of the one client of every Provider.
const (
	ClientID     = "backout"
	ClientSecret = "a secret of a test"
)

// keyBits is the size of the signing key.
const keyBits = 2048

// key signs the ID tokens of all providers of a test process.
var key = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, keyBits) })

// Provider is an OpenID Connect provider at which everybody is one person.
type Provider struct {
	// URL is the issuer.
	URL string
	// Lie changes the claims of the next ID tokens; nil changes none.
	Lie func(claims map[string]any)
	// Elsewhere are claims that are told at the UserInfo endpoint; nil makes it
	// refuse.
	Elsewhere map[string]any
	// Now is the clock of its tokens.
	Now func() time.Time

	mu    sync.Mutex
	codes map[string]url.Values
	key   *rsa.PrivateKey
}

// NewProvider starts a provider that ends with the test.
func NewProvider(tb testing.TB) *Provider {
	tb.Helper()
	private, err := key()
	if err != nil {
		tb.Fatal(err)
	}
	p := &Provider{codes: map[string]url.Values{}, key: private, Now: time.Now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /auth", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /userinfo", p.userInfo)
	server := httptest.NewServer(mux)
	tb.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"userinfo_endpoint":                     p.URL + "/userinfo",
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

// authorize lets in whoever comes, and sends them back with a code.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("code_challenge_method") != "S256" || query.Get("client_id") != ClientID || query.Get("response_type") != "code" {
		http.Error(w, "invalid_request", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = query
	p.mu.Unlock()
	back := url.Values{"code": {code}, "state": {query.Get("state")}}
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
}

// token takes a code once, from the client that proves that it began the login.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	} else if s, err := url.QueryUnescape(secret); err == nil {
		secret = s
	}
	p.mu.Lock()
	query, known := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case id != ClientID || secret != ClientSecret:
		problem(w, "invalid_client")
		return
	case !known || query.Get("code_challenge") != encode(sum[:]) || query.Get("redirect_uri") != r.PostFormValue("redirect_uri"):
		problem(w, "invalid_grant")
		return
	}
	claims := map[string]any{
		"iss": p.URL, "aud": ClientID, "sub": "subject-of-ada", "nonce": query.Get("nonce"), "iat": p.Now().Unix(), "exp": p.Now().Add(time.Hour).Unix(),
		"email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace",
	}
	if p.Lie != nil {
		p.Lie(claims)
	}
	answer(w, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "id_token": p.sign(claims)})
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": encode(p.key.N.Bytes()), "e": encode(big.NewInt(int64(p.key.E)).Bytes()),
	}}})
}

// userInfo tells whoever has an access token.
func (p *Provider) userInfo(w http.ResponseWriter, r *http.Request) {
	if p.Elsewhere == nil || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		http.Error(w, "insufficient_scope", http.StatusForbidden)
		return
	}
	answer(w, p.Elsewhere)
}

func (p *Provider) sign(claims map[string]any) string {
	body, err := json.Marshal(claims)
	if err != nil {
		return ""
	}
	text := encode([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, p.key, crypto.SHA256, sum[:])
	if err != nil {
		return ""
	}
	return text + "." + encode(signature)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // Whoever went away needs no answer.
}

func problem(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code})
}
