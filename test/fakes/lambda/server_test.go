package fakelambda_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	fakelambda "github.com/backout/backout/test/fakes/lambda"
)

// client is AWS's own.
func client(s *fakelambda.Server, id, secret, token string) *lambda.Client {
	return lambda.New(lambda.Options{
		Region: fakelambda.Region, BaseEndpoint: aws.String(s.URL()), Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}, nil
		}),
	})
}

func started(t *testing.T) *fakelambda.Server {
	t.Helper()
	s := fakelambda.New(nil,
		fakelambda.Key{ID: "AKIAALL", Secret: "all-secret"},
		fakelambda.Key{ID: "AKIAREAD", Secret: "read-secret", Token: "read-token", Allow: []string{"lambda:GetAlias"}})
	t.Cleanup(s.Close)
	s.AddFunction("checkout", nil)
	for range 3 {
		s.Publish("checkout", time.Now())
	}
	s.Point("checkout", "live", "the one that is used", 2, map[string]float64{"3": 0.1})
	return s
}

// code is the code of an error of the API.
func code(t *testing.T, err error) string {
	t.Helper()
	var said smithy.APIError
	require.ErrorAs(t, err, &said)
	return said.ErrorCode()
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	s := started(t)
	get := &lambda.GetAliasInput{FunctionName: aws.String("checkout"), Name: aws.String("live")}
	for _, test := range []struct {
		name, id, secret, token, code string
	}{
		{"good", "AKIAALL", "all-secret", "", ""},
		{"good and temporary", "AKIAREAD", "read-secret", "read-token", ""},
		{"another secret", "AKIAALL", "other", "", "InvalidSignatureException"},
		{"an unknown key", "AKIANONE", "all-secret", "", "UnrecognizedClientException"},
		{"another token", "AKIAREAD", "read-secret", "other", "UnrecognizedClientException"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			answer, err := client(s, test.id, test.secret, test.token).GetAlias(t.Context(), get)
			if test.code != "" {
				require.Equal(t, test.code, code(t, err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, "2", *answer.FunctionVersion)
			require.Equal(t, map[string]float64{"3": 0.1}, answer.RoutingConfig.AdditionalVersionWeights)
		})
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/2015-03-31/functions/checkout/aliases/live", http.NoBody)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusForbidden, answer.StatusCode, "a request without a signature is answered")
}

func TestUpdateAlias(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		change  func(in *lambda.UpdateAliasInput)
		code    string
		version string
		weights map[string]float64
	}{
		{"version alone keeps the share", func(in *lambda.UpdateAliasInput) { in.FunctionVersion = aws.String("1") }, "", "1", map[string]float64{"3": 0.1}},
		{"empty shares end it", func(in *lambda.UpdateAliasInput) {
			in.RoutingConfig = &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{}}
		}, "", "2", nil},
		{"another RevisionId", func(in *lambda.UpdateAliasInput) { in.RevisionId = aws.String("other") }, "PreconditionFailedException", "2", map[string]float64{"3": 0.1}},
		{"a version that is not there", func(in *lambda.UpdateAliasInput) { in.FunctionVersion = aws.String("9") }, "ResourceNotFoundException", "2", map[string]float64{"3": 0.1}},
		{"an alias that is not there", func(in *lambda.UpdateAliasInput) { in.Name = aws.String("none") }, "ResourceNotFoundException", "2", map[string]float64{"3": 0.1}},
		{"two other versions", func(in *lambda.UpdateAliasInput) {
			in.RoutingConfig = &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"1": 0.1, "3": 0.1}}
		}, "InvalidParameterValueException", "2", map[string]float64{"3": 0.1}},
		{"a share of $LATEST", func(in *lambda.UpdateAliasInput) { in.FunctionVersion = aws.String("$LATEST") }, "InvalidParameterValueException", "2", map[string]float64{"3": 0.1}},
		{"a share above one", func(in *lambda.UpdateAliasInput) {
			in.RoutingConfig = &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"1": 1.5}}
		}, "InvalidParameterValueException", "2", map[string]float64{"3": 0.1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := started(t)
			before := s.Alias("checkout", "live")
			in := &lambda.UpdateAliasInput{FunctionName: aws.String("checkout"), Name: aws.String("live"), RevisionId: aws.String(before.RevisionID)}
			test.change(in)
			_, err := client(s, "AKIAALL", "all-secret", "").UpdateAlias(t.Context(), in)
			after := s.Alias("checkout", "live")
			require.Equal(t, test.version, after.Version)
			require.Len(t, after.Weights, len(test.weights))
			for version, weight := range test.weights {
				require.InDelta(t, weight, after.Weights[version], 1e-9)
			}
			if test.code != "" {
				require.Equal(t, test.code, code(t, err))
				require.Equal(t, before.RevisionID, after.RevisionID, "a refused update changed the alias")
				return
			}
			require.NoError(t, err)
			require.NotEqual(t, before.RevisionID, after.RevisionID)
			require.Equal(t, "the one that is used", after.Description, "what was not named was changed")
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := started(t)
	in := &lambda.UpdateAliasInput{FunctionName: aws.String("checkout"), Name: aws.String("live"), FunctionVersion: aws.String("1")}
	_, err := client(s, "AKIAREAD", "read-secret", "read-token").UpdateAlias(t.Context(), in)
	require.Equal(t, "AccessDeniedException", code(t, err))
	all := client(s, "AKIAALL", "all-secret", "")
	s.Throttle(1)
	_, err = all.UpdateAlias(t.Context(), in)
	require.Equal(t, "TooManyRequestsException", code(t, err))
	s.Conflict(1)
	_, err = all.UpdateAlias(t.Context(), in)
	require.Equal(t, "ResourceConflictException", code(t, err))
	require.Equal(t, "2", s.Alias("checkout", "live").Version)
	_, err = all.UpdateAlias(t.Context(), in)
	require.NoError(t, err)
}

func TestVersionsInPages(t *testing.T) {
	t.Parallel()
	s := started(t)
	for range 60 {
		s.Publish("checkout", time.Now())
	}
	pages := lambda.NewListVersionsByFunctionPaginator(client(s, "AKIAALL", "all-secret", ""), &lambda.ListVersionsByFunctionInput{FunctionName: aws.String("checkout")})
	var found []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, v := range page.Versions {
			found = append(found, *v.Version)
		}
	}
	require.Len(t, found, 64)
	require.Equal(t, "$LATEST", found[0])
	require.Equal(t, "63", found[63])
}
