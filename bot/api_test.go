package bot_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/workflows/incident"
)

const adaToken, bobToken = "ada-0123456789-0123456789", "bob-0123456789-0123456789"

func access(t *testing.T) *bot.Access {
	t.Helper()
	a, err := bot.ParseAccess([]byte("# who may call\nada " + adaToken + "\n\nbob " + bobToken + "\n"))
	require.NoError(t, err)
	return a
}

func asAda() http.Header {
	return http.Header{"Authorization": {"Bearer " + adaToken}, "Content-Type": {"application/json"}}
}

func TestAPI(t *testing.T) {
	t.Parallel()
	_, h, _ := serve(t, bot.Options{Access: access(t), Services: func() []string { return []string{"checkout"} }})
	call := func(name, body string, into any) int {
		t.Helper()
		status, answer := send(t, http.MethodPost, h.URL+"/api/v1/"+name, asAda(), body)
		require.NoError(t, json.Unmarshal([]byte(answer), into))
		return status
	}
	var declared, again bot.DeclareAnswer
	id := unique("declare")
	body := `{"id":"` + id + `","service":"checkout","title":"it is down","severity":"sev1"}`
	require.Equal(t, http.StatusOK, call("declare", body, &declared))
	require.Equal(t, http.StatusOK, call("declare", body, &again))
	require.Equal(t, declared.Key, again.Key, "the same declaration is one incident")

	var v incident.View
	require.Equal(t, http.StatusOK, call("view", `{"key":"`+declared.Key+`"}`, &v))
	require.Equal(t, "it is down", v.Title)

	var r, same incident.Result
	decide := `{"key":"` + declared.Key + `","decision_id":"d1","option_id":"o1","plan_digest":"` + planDigest("o1") + `","answer":"approve"}`
	require.Equal(t, http.StatusOK, call("decide", decide, &r))
	require.Equal(t, incident.OutcomeApproved, r.Outcome)
	require.Equal(t, http.StatusOK, call("decide", decide, &same))
	require.Equal(t, r, same)
	// Somebody else with the same ID decides for themselves.
	bob := asAda()
	bob.Set("Authorization", "Bearer "+bobToken)
	status, answer := send(t, http.MethodPost, h.URL+"/api/v1/decide", bob, decide)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, answer, "late")
	require.Equal(t, http.StatusOK, call("view", `{"key":"`+declared.Key+`"}`, &v))
	require.Equal(t, incident.Actor{Via: incident.ViaCLI, Login: "ada"}, v.Decisions[0].Actor)
	require.Equal(t, "bob", v.Decisions[1].Actor.Login)

	var list bot.ListAnswer
	require.Equal(t, http.StatusOK, call("list", "", &list))
	var closed incident.Result
	var handed incident.Result
	require.Equal(t, http.StatusOK, call("command", `{"key":"`+declared.Key+`","verb":"hand_over","to":"bob"}`, &handed))
	require.Equal(t, "the answer to hand_over for cli:bob", handed.Reason)
	require.Equal(t, http.StatusOK, call("command", `{"key":"`+declared.Key+`","verb":"close"}`, &closed))

	var p bot.Problem
	for _, tt := range []struct {
		name, call, body string
		status           int
	}{
		{"unknown member", "decide", `{"key":"` + declared.Key + `","actor":"bob"}`, http.StatusBadRequest},
		{"two values", "view", `{"key":"cli/D1"}{}`, http.StatusBadRequest},
		{"bad key", "view", `{"key":"../x"}`, http.StatusBadRequest},
		{"no such incident", "command", `{"key":"cli/` + unique("D") + `","verb":"close"}`, http.StatusNotFound},
		{"unknown verb", "command", `{"key":"cli/D1","verb":"dance"}`, http.StatusBadRequest},
		{"handover to nobody", "command", `{"key":"` + declared.Key + `","verb":"hand_over"}`, http.StatusBadRequest},
		{"another verb with a person", "command", `{"key":"` + declared.Key + `","verb":"close","to":"bob"}`, http.StatusBadRequest},
		{"unknown service", "declare", `{"service":"basement","title":"x","severity":"sev1"}`, http.StatusBadRequest},
		{"no title", "declare", `{"service":"checkout","severity":"sev1"}`, http.StatusBadRequest},
		{"no severity", "declare", `{"service":"checkout","title":"x"}`, http.StatusBadRequest},
	} {
		require.Equal(t, tt.status, call(tt.call, tt.body, &p), tt.name)
		require.NotEmpty(t, p.Error, tt.name)
	}
}

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	_, h, log := serve(t, bot.Options{Access: access(t)})
	_, local, _ := serve(t, bot.Options{Access: access(t).WithLocal("operator")})
	_, closed, _ := serve(t, bot.Options{})
	header := func(pairs ...string) http.Header {
		out := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(pairs); i += 2 {
			out.Set(pairs[i], pairs[i+1])
		}
		return out
	}
	tests := []struct {
		name, url string
		header    http.Header
		status    int
	}{
		{"token", h.URL, asAda(), http.StatusOK},
		{"no token", h.URL, header(), http.StatusUnauthorized},
		{"wrong token", h.URL, header("Authorization", "Bearer "+adaToken+"x"), http.StatusUnauthorized},
		{"empty token", h.URL, header("Authorization", "Bearer "), http.StatusUnauthorized},
		{"login as token", h.URL, header("Authorization", "Bearer ada"), http.StatusUnauthorized},
		{"another scheme", h.URL, header("Authorization", "Negotiate "+adaToken), http.StatusUnauthorized},
		{"another origin", h.URL, header("Authorization", "Bearer "+adaToken, "Origin", "https://evil.example"), http.StatusForbidden},
		{"another site", h.URL, header("Authorization", "Bearer "+adaToken, "Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		{"no JSON", h.URL, header("Authorization", "Bearer "+adaToken, "Content-Type", "text/plain"), http.StatusUnsupportedMediaType},
		{"this machine", local.URL, header(), http.StatusOK},
		{"this machine, wrong token", local.URL, header("Authorization", "Bearer wrong"), http.StatusUnauthorized},
		{"through a proxy", local.URL, header("X-Forwarded-For", "203.0.113.7"), http.StatusUnauthorized},
		{"nobody may", closed.URL, asAda(), http.StatusUnauthorized},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, _ := send(t, http.MethodPost, tt.url+"/api/v1/list", tt.header, "{}")
			require.Equal(t, tt.status, status)
			require.NotContains(t, log.String(), adaToken)
		})
	}
	t.Run("a name that was pointed here", func(t *testing.T) {
		t.Parallel()
		request, err := http.NewRequestWithContext(within(t), http.MethodPost, local.URL+"/api/v1/list", strings.NewReader("{}"))
		require.NoError(t, err)
		request.Host = "rebound.example"
		request.Header = header()
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	})
}

func TestTokenFilesAreStrict(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"no token": "ada\n", "short token": "ada secret\n", "three words": "ada " + adaToken + " admin\n", "shared token": "ada " + adaToken + "\nbob " + adaToken + "\n",
	} {
		_, err := bot.ParseAccess([]byte(file))
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), adaToken, name)
	}
}

func TestAPIWithoutTemporal(t *testing.T) {
	t.Parallel()
	_, h, _ := serveWithin(t, bot.Options{Gateway: unreachable(t), Access: access(t)}, haste, haste)
	status, answer := send(t, http.MethodPost, h.URL+"/api/v1/list", asAda(), "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, answer, "not known whether")
	require.NotContains(t, answer, "127.0.0.1", "nothing of the inside is shown")
}

func TestConsole(t *testing.T) {
	t.Parallel()
	_, h, _ := serve(t, bot.Options{Access: access(t)})
	key := begin(t, bot.NewGateway(temporalClient, bot.Unsigned{}), "")
	basic := func() http.Header {
		r, err := http.NewRequestWithContext(within(t), http.MethodGet, h.URL, nil)
		require.NoError(t, err)
		r.SetBasicAuth("whatever", adaToken)
		return r.Header
	}
	status, _ := send(t, http.MethodGet, h.URL+"/incidents/"+key, nil, "")
	require.Equal(t, http.StatusUnauthorized, status)
	status, page := send(t, http.MethodGet, h.URL+"/incidents/"+key, basic(), "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "Back to v41")
	require.Contains(t, page, planDigest("o1"))
	status, page = send(t, http.MethodGet, h.URL+"/incidents", basic(), "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "/incidents/"+key)
	status, _ = send(t, http.MethodGet, h.URL+"/incidents/pagerduty/"+unique("Q"), basic(), "")
	require.Equal(t, http.StatusNotFound, status)

	form := basic()
	form.Set("Content-Type", "application/x-www-form-urlencoded")
	body := "option_id=o1&plan_digest=" + planDigest("o1") + "&revision=1&answer=approve"
	cross := form.Clone()
	cross.Set("Origin", "https://evil.example")
	status, _ = send(t, http.MethodPost, h.URL+"/incidents/"+key+"/decide", cross, body)
	require.Equal(t, http.StatusForbidden, status)
	require.Empty(t, viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), key).Decisions)

	status, page = send(t, http.MethodPost, h.URL+"/incidents/"+key+"/decide", form, body)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "starts the rollback")
	status, page = send(t, http.MethodPost, h.URL+"/incidents/"+key+"/command", form, "verb=take_command")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "the answer to take_command")
	status, _ = send(t, http.MethodPost, h.URL+"/incidents/"+key+"/decide", form, "option_id=o1")
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, incident.Actor{Via: incident.ViaConsole, Login: "ada"}, viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), key).Decisions[0].Actor)
}
