package login_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/bot/login/logintest"
)

var plan = login.Subject{Incident: "pagerduty/Q1", Option: "o2", PlanDigest: "sha256:" + strings.Repeat("a", 64)}

func TestProof(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	who := s.browser(t).login()
	a := s.enrol(t, who)
	seen := map[string]bool{}
	for range 3 {
		state, answer := s.prove(t.Context(), t, who, a, plan)
		proof, err := s.FinishProof(t.Context(), who, plan, state, answer)
		require.NoError(t, err)
		require.Equal(t, plan, proof.Subject)
		require.WithinDuration(t, s.Clock.Now(), proof.At, 0)
		require.False(t, seen[proof.ID], "each proof has an ID of its own")
		seen[proof.ID] = true
	}
	passkeys, err := s.Passkeys(t.Context(), who)
	require.NoError(t, err)
	require.Len(t, passkeys, 1)
	require.Equal(t, "a key", passkeys[0].Name)
	require.False(t, passkeys[0].UsedAt.IsZero())
}

// The passkey signs the plan itself: the same question about anything else has
// another challenge.
func TestTheChallengeIsThePlan(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	who := s.browser(t).login()
	s.enrol(t, who)
	seen := map[string]bool{}
	for _, about := range []login.Subject{
		plan, plan,
		{Incident: plan.Incident, Option: "o1", PlanDigest: plan.PlanDigest},
		{Incident: "pagerduty/Q2", Option: plan.Option, PlanDigest: plan.PlanDigest},
		{Incident: plan.Incident, Option: plan.Option, PlanDigest: "sha256:" + strings.Repeat("b", 64)},
	} {
		c, err := s.BeginProof(t.Context(), who, about)
		require.NoError(t, err)
		var o struct {
			Challenge        string `json:"challenge"`
			UserVerification string `json:"userVerification"`
		}
		require.NoError(t, json.Unmarshal([]byte(c.Options), &o))
		require.Equal(t, "required", o.UserVerification)
		require.Len(t, o.Challenge, 43, "256 bits")
		require.False(t, seen[o.Challenge])
		seen[o.Challenge] = true
		require.NotContains(t, c.State, "sha256")
	}
}

func TestProofsThatAreRefused(t *testing.T) {
	t.Parallel()
	other := plan
	other.PlanDigest = "sha256:" + strings.Repeat("b", 64)
	otherOption, otherIncident := plan, plan
	otherOption.Option, otherIncident.Incident = "o1", "pagerduty/Q2"
	type attempt struct {
		s             *site
		who           login.Session
		a             *logintest.Authenticator
		about         login.Subject
		state, answer string
	}
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, at *attempt)
		after  func(t *testing.T, at *attempt)
		want   error
	}{
		{"another plan", nil, func(_ *testing.T, at *attempt) { at.about = other }, login.ErrOther},
		{"another option", nil, func(_ *testing.T, at *attempt) { at.about = otherOption }, login.ErrOther},
		{"another incident", nil, func(_ *testing.T, at *attempt) { at.about = otherIncident }, login.ErrOther},
		{"an answer about another plan", nil, func(t *testing.T, at *attempt) {
			_, at.answer = at.s.prove(t.Context(), t, at.who, at.a, other)
		}, login.ErrPasskey},
		{"an answer to the same question, asked before", nil, func(t *testing.T, at *attempt) {
			_, at.answer = at.s.prove(t.Context(), t, at.who, at.a, plan)
		}, login.ErrPasskey},
		{"again", nil, func(t *testing.T, at *attempt) {
			_, err := at.s.FinishProof(t.Context(), at.who, at.about, at.state, at.answer)
			require.NoError(t, err)
		}, login.ErrSpent},
		{"too late", nil, func(_ *testing.T, at *attempt) { at.s.Clock.pass(5 * time.Minute) }, login.ErrExpired},
		{"another session of the same person", nil, func(t *testing.T, at *attempt) { at.who = at.s.browser(t).login() }, login.ErrOther},
		{"another person", nil, func(t *testing.T, at *attempt) {
			at.s.Provider.Lie = func(c map[string]any) { c["email"], c["sub"] = "bob@example.com", "subject-of-bob" }
			at.who = at.s.browser(t).login()
		}, login.ErrOther},
		{"another person in the session", nil, func(_ *testing.T, at *attempt) { at.who.Login = "bob@example.com" }, login.ErrOther},
		{"another page", func(_ *testing.T, at *attempt) { at.a.Origin = "https://evil.example" }, nil, login.ErrPasskey},
		{"another port", func(_ *testing.T, at *attempt) { at.a.Origin = "http://localhost:1" }, nil, login.ErrPasskey},
		{"nobody was verified", func(_ *testing.T, at *attempt) { at.a.Unverified = true }, nil, login.ErrPasskey},
		{"a passkey that was not enrolled", func(t *testing.T, at *attempt) {
			var err error
			at.a, err = logintest.NewAuthenticator(at.s.URL)
			require.NoError(t, err)
		}, nil, login.ErrPasskey},
		{"a passkey that was revoked meanwhile", nil, func(t *testing.T, at *attempt) {
			n, err := at.s.Store.Revoke(t.Context(), at.who.Login, "")
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}, login.ErrNoPasskey},
		{"a counter that goes back", func(t *testing.T, at *attempt) {
			state, answer := at.s.prove(t.Context(), t, at.who, at.a, plan)
			_, err := at.s.FinishProof(t.Context(), at.who, plan, state, answer)
			require.NoError(t, err)
			at.a.Counter--
		}, nil, login.ErrLocked},
		{"a tampered question", nil, func(_ *testing.T, at *attempt) {
			at.state = at.state[:60] + flip(at.state[60:61]) + at.state[61:]
		}, login.ErrState},
		{"no question", nil, func(_ *testing.T, at *attempt) { at.state = "" }, login.ErrState},
		{"no answer", nil, func(_ *testing.T, at *attempt) { at.answer = "" }, login.ErrPasskey},
		{"a long answer", nil, func(_ *testing.T, at *attempt) { at.answer = strings.Repeat(" ", 40<<10) }, login.ErrPasskey},
		{"a cut answer", nil, func(_ *testing.T, at *attempt) { at.answer = at.answer[:len(at.answer)/2] }, login.ErrPasskey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := &attempt{s: newSite(t, nil), about: plan}
			at.who = at.s.browser(t).login()
			at.a = at.s.enrol(t, at.who)
			if tt.before != nil {
				tt.before(t, at)
			}
			at.state, at.answer = at.s.prove(t.Context(), t, at.who, at.a, plan)
			if tt.after != nil {
				tt.after(t, at)
			}
			_, err := at.s.FinishProof(t.Context(), at.who, at.about, at.state, at.answer)
			require.ErrorIs(t, err, tt.want)
		})
	}
}

// Two copies of one authenticator: whichever is second is noticed, and neither
// proves anything after that.
func TestACopiedPasskeyIsLocked(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	who := s.browser(t).login()
	a := s.enrol(t, who)
	duplicate := *a
	state, answer := s.prove(t.Context(), t, who, a, plan)
	_, err := s.FinishProof(t.Context(), who, plan, state, answer)
	require.NoError(t, err)
	state, answer = s.prove(t.Context(), t, who, &duplicate, plan)
	_, err = s.FinishProof(t.Context(), who, plan, state, answer)
	require.ErrorIs(t, err, login.ErrLocked)
	_, err = s.BeginProof(t.Context(), who, plan)
	require.ErrorIs(t, err, login.ErrNoPasskey)
	passkeys, err := s.Passkeys(t.Context(), who)
	require.NoError(t, err)
	require.True(t, passkeys[0].Locked)
}

// An answer that is sent fifty times at once counts once, and locks nothing.
func TestRacedProofsCountOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	who := s.browser(t).login()
	a := s.enrol(t, who)
	state, answer := s.prove(t.Context(), t, who, a, plan)
	errs := make(chan error, 50)
	var all sync.WaitGroup
	for range cap(errs) {
		all.Go(func() {
			_, err := s.FinishProof(t.Context(), who, plan, state, answer)
			errs <- err
		})
	}
	all.Wait()
	close(errs)
	counted := 0
	for err := range errs {
		if err == nil {
			counted++
			continue
		}
		require.ErrorIs(t, err, login.ErrSpent)
	}
	require.Equal(t, 1, counted)
	state, answer = s.prove(t.Context(), t, who, a, plan)
	_, err := s.FinishProof(t.Context(), who, plan, state, answer)
	require.NoError(t, err, "it was not locked")
}

func TestEnrolmentsThatAreRefused(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, s *site, who login.Session) (login.Ceremony, *logintest.Authenticator) {
		t.Helper()
		code, err := s.Store.NewCode(t.Context(), who.Login, s.Clock.Now())
		require.NoError(t, err)
		c, err := s.BeginEnrolment(t.Context(), who, strings.ToLower(code), "")
		require.NoError(t, err)
		a, err := logintest.NewAuthenticator(s.URL)
		require.NoError(t, err)
		return c, a
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, s *site, who login.Session) error
		want error
	}{
		{"no code", func(t *testing.T, s *site, who login.Session) error {
			_, err := s.BeginEnrolment(t.Context(), who, "", "")
			return err
		}, login.ErrCode},
		{"the code of another person", func(t *testing.T, s *site, who login.Session) error {
			code, err := s.Store.NewCode(t.Context(), "bob@example.com", s.Clock.Now())
			require.NoError(t, err)
			_, err = s.BeginEnrolment(t.Context(), who, code, "")
			return err
		}, login.ErrCode},
		{"a code that a newer one replaced", func(t *testing.T, s *site, who login.Session) error {
			code, err := s.Store.NewCode(t.Context(), who.Login, s.Clock.Now())
			require.NoError(t, err)
			_, err = s.Store.NewCode(t.Context(), who.Login, s.Clock.Now())
			require.NoError(t, err)
			_, err = s.BeginEnrolment(t.Context(), who, code, "")
			return err
		}, login.ErrCode},
		{"an old code", func(t *testing.T, s *site, who login.Session) error {
			code, err := s.Store.NewCode(t.Context(), who.Login, s.Clock.Now().Add(-login.CodeLife))
			require.NoError(t, err)
			_, err = s.BeginEnrolment(t.Context(), who, code, "")
			return err
		}, login.ErrCode},
		{"a login from before", func(t *testing.T, s *site, who login.Session) error {
			s.Clock.pass(10 * time.Minute)
			code, err := s.Store.NewCode(t.Context(), who.Login, s.Clock.Now())
			require.NoError(t, err)
			_, err = s.BeginEnrolment(t.Context(), who, code, "")
			return err
		}, login.ErrNotFresh},
		{"a code twice", func(t *testing.T, s *site, who login.Session) error {
			c, a := begin(t, s, who)
			answer, err := a.Create(c.Options)
			require.NoError(t, err)
			require.NoError(t, s.FinishEnrolment(t.Context(), who, c.State, answer))
			other, err := logintest.NewAuthenticator(s.URL)
			require.NoError(t, err)
			answer, err = other.Create(c.Options)
			require.NoError(t, err)
			return s.FinishEnrolment(t.Context(), who, c.State, answer)
		}, login.ErrCode},
		{"too late", func(t *testing.T, s *site, who login.Session) error {
			c, a := begin(t, s, who)
			answer, err := a.Create(c.Options)
			require.NoError(t, err)
			s.Clock.pass(5 * time.Minute)
			return s.FinishEnrolment(t.Context(), who, c.State, answer)
		}, login.ErrExpired},
		{"another session", func(t *testing.T, s *site, who login.Session) error {
			c, a := begin(t, s, who)
			answer, err := a.Create(c.Options)
			require.NoError(t, err)
			return s.FinishEnrolment(t.Context(), s.browser(t).login(), c.State, answer)
		}, login.ErrOther},
		{"another page", func(t *testing.T, s *site, who login.Session) error {
			c, a := begin(t, s, who)
			a.Origin = "https://evil.example"
			answer, err := a.Create(c.Options)
			require.NoError(t, err)
			return s.FinishEnrolment(t.Context(), who, c.State, answer)
		}, login.ErrPasskey},
		{"nobody was verified", func(t *testing.T, s *site, who login.Session) error {
			c, a := begin(t, s, who)
			a.Unverified = true
			answer, err := a.Create(c.Options)
			require.NoError(t, err)
			return s.FinishEnrolment(t.Context(), who, c.State, answer)
		}, login.ErrPasskey},
		{"the answer to a proof", func(t *testing.T, s *site, who login.Session) error {
			a := s.enrol(t, who)
			state, answer := s.prove(t.Context(), t, who, a, plan)
			return s.FinishEnrolment(t.Context(), who, state, answer)
		}, login.ErrState},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			require.ErrorIs(t, tt.do(t, s, s.browser(t).login()), tt.want)
		})
	}
}

// A login that the provider gives to somebody else does not bring the passkeys of
// the person who had it.
func TestPasskeysBelongToTheAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.enrol(t, s.browser(t).login())
	s.Provider.Lie = func(c map[string]any) { c["sub"] = "the next ada" }
	_, err := s.BeginProof(t.Context(), s.browser(t).login(), plan)
	require.ErrorIs(t, err, login.ErrNoPasskey)
}
