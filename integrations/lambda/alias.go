package lambda

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// aliasForm shows how a target's path is spelled.
const aliasForm = "<function>/<alias>"

// What names may look like.
// Source: https://docs.aws.amazon.com/lambda/latest/api/API_UpdateAlias.html
var (
	functionPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	aliasPattern    = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	numberPattern   = regexp.MustCompile(`^[0-9]+$`)
)

// location names one alias absolutely.
type location struct{ function, alias string }

func parseTarget(target incident.Target) (location, error) {
	function, alias, _ := strings.Cut(target.Path, "/")
	if !functionPattern.MatchString(function) || !aliasPattern.MatchString(alias) || numberPattern.MatchString(alias) {
		return location{}, fmt.Errorf("parse target %q: %w: want %s", printable(target.String()), driver.ErrInvalid, aliasForm)
	}
	return location{function, alias}, nil
}

// name is what people call the alias.
func (l location) name() string { return l.function + "/" + l.alias }

// pointing is the state of an alias: its version, and the share of a second one.
type pointing struct {
	version int
	// second is another version, 0 for none, and share what it gets, from 0 to 1.
	second int
	share  float64
}

// String is the revision.
func (p pointing) String() string {
	text := strconv.Itoa(p.version)
	if p.second > 0 {
		text += fmt.Sprintf("+%d=%s", p.second, strconv.FormatFloat(p.share, 'f', -1, 64))
	}
	return text
}

// label is what people call the state.
func (p pointing) label() string {
	text := fmt.Sprintf("version %d", p.version)
	if p.second > 0 {
		text += fmt.Sprintf(" with %s%% to version %d", strconv.FormatFloat(p.share*100, 'f', -1, 64), p.second)
	}
	return text
}

func (p pointing) state() incident.State {
	return incident.State{Revision: p.String(), Digest: incident.DigestOf([]byte("alias\x00" + p.String())), Label: p.label()}
}

// versions are those that the state needs.
func (p pointing) versions() []int {
	if p.second > 0 {
		return []int{p.version, p.second}
	}
	return []int{p.version}
}

// pointingPattern is that of a revision. Shares are kept to two decimals of a percent.
var pointingPattern = regexp.MustCompile(`^([1-9][0-9]{0,8})(?:\+([1-9][0-9]{0,8})=(0\.[0-9]{1,4}|1(?:\.0{1,4})?))?$`)

// errSpelling says how a revision is spelled.
var errSpelling = errors.New(`want the number of a version such as "12", or with the share of a second one such as "12+13=0.1"`)

// parsePointing reads a revision.
func parsePointing(text string) (pointing, error) {
	parts := pointingPattern.FindStringSubmatch(text)
	if parts == nil {
		return pointing{}, errSpelling
	}
	var p pointing
	p.version, _ = strconv.Atoi(parts[1]) // The pattern is that of a number.
	if parts[2] == "" {
		return p, nil
	}
	p.second, _ = strconv.Atoi(parts[2])
	p.share, _ = strconv.ParseFloat(parts[3], 64)
	if p.share == 0 {
		return pointing{version: p.version}, nil
	}
	if p.second == p.version {
		return pointing{}, errSpelling
	}
	return p, nil
}

// errLatest means that an alias points to what is not a version.
var errLatest = errors.New("the alias points to $LATEST")

// reading is an alias as Lambda shows it.
type reading struct {
	pointing
	// revision is the RevisionId, which any change of the alias changes.
	revision string
}

// detail is one line for people about what was observed.
func (r reading) detail() string {
	return fmt.Sprintf("the alias points to %s (RevisionId %s)", r.label(), printable(r.revision))
}

// read asks for an alias.
func (c *connection) read(ctx context.Context, at location) (reading, error) {
	var answer *api.GetAliasOutput
	if err := c.call(ctx, "read alias", func(ctx context.Context, client *api.Client) (err error) {
		answer, err = client.GetAlias(ctx, &api.GetAliasInput{FunctionName: aws.String(at.function), Name: aws.String(at.alias)})
		return err
	}); err != nil {
		return reading{}, err
	}
	r := reading{revision: aws.ToString(answer.RevisionId)}
	text := aws.ToString(answer.FunctionVersion)
	if text == "$LATEST" {
		return r, errLatest
	}
	var weights map[string]float64
	if answer.RoutingConfig != nil {
		weights = answer.RoutingConfig.AdditionalVersionWeights
	}
	if len(weights) > 1 || r.revision == "" {
		return r, errors.New("decode answer: the alias has another form than expected")
	}
	for _, second := range slices.Collect(maps.Keys(weights)) {
		if weights[second] > 0 {
			text += fmt.Sprintf("+%s=%s", second, strconv.FormatFloat(weights[second], 'f', -1, 64))
		}
	}
	var err error
	if r.pointing, err = parsePointing(text); err != nil {
		return r, errors.New("decode answer: the alias points to no version")
	}
	return r, nil
}

// update points an alias elsewhere if it still has the RevisionId. It returns what
// Lambda then shows.
func (c *connection) update(ctx context.Context, at location, wanted pointing, revision string) error {
	// An empty map ends the share of a second version; none at all would keep it.
	weights := map[string]float64{}
	if wanted.second > 0 {
		weights[strconv.Itoa(wanted.second)] = wanted.share
	}
	return c.call(ctx, "update alias", func(ctx context.Context, client *api.Client) error {
		_, err := client.UpdateAlias(ctx, &api.UpdateAliasInput{
			FunctionName:    aws.String(at.function),
			Name:            aws.String(at.alias),
			FunctionVersion: aws.String(strconv.Itoa(wanted.version)),
			RevisionId:      aws.String(revision),
			RoutingConfig:   &types.AliasRoutingConfiguration{AdditionalVersionWeights: weights},
		})
		return err
	})
}

// published is one version of a function, without what may be secret.
type published struct {
	version int
	at      time.Time
	code    string
	state   types.State
	reason  string
}

// timeForm is how Lambda spells times.
// Source: https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html
const timeForm = "2006-01-02T15:04:05.999-0700"

// maxVersions bounds how many versions are read: Lambda has no limit but that of the
// code that an account stores.
const maxVersions = 5000

func publishedOf(f types.FunctionConfiguration) (published, bool) {
	number, err := strconv.Atoi(aws.ToString(f.Version))
	if err != nil {
		return published{}, false // $LATEST.
	}
	at, err := time.Parse(timeForm, aws.ToString(f.LastModified))
	if err != nil {
		return published{}, false
	}
	return published{
		version: number, at: at.UTC(), code: printable(aws.ToString(f.CodeSha256)),
		state: f.State, reason: printable(aws.ToString(f.StateReason)),
	}, true
}

// versions reads all versions of a function, oldest first.
func (c *connection) versions(ctx context.Context, at location) ([]published, error) {
	var found []published
	var marker *string
	for {
		var answer *api.ListVersionsByFunctionOutput
		if err := c.call(ctx, "list versions", func(ctx context.Context, client *api.Client) (err error) {
			answer, err = client.ListVersionsByFunction(ctx, &api.ListVersionsByFunctionInput{FunctionName: aws.String(at.function), Marker: marker})
			return err
		}); err != nil {
			return nil, err
		}
		for _, f := range answer.Versions {
			if p, ok := publishedOf(f); ok {
				found = append(found, p)
			}
		}
		if aws.ToString(answer.NextMarker) == "" {
			break
		}
		if len(found) > maxVersions {
			return nil, fmt.Errorf("list versions: %w: the function has more than %d", driver.ErrInvalid, maxVersions)
		}
		marker = answer.NextMarker
	}
	slices.SortFunc(found, func(a, b published) int { return a.version - b.version })
	return found, nil
}

// version reads one version.
func (c *connection) version(ctx context.Context, at location, number int) (published, error) {
	var answer *api.GetFunctionConfigurationOutput
	if err := c.call(ctx, "read version", func(ctx context.Context, client *api.Client) (err error) {
		answer, err = client.GetFunctionConfiguration(ctx, &api.GetFunctionConfigurationInput{FunctionName: aws.String(at.function), Qualifier: aws.String(strconv.Itoa(number))})
		return err
	}); err != nil {
		return published{}, err
	}
	p, ok := publishedOf(types.FunctionConfiguration{
		Version: answer.Version, LastModified: answer.LastModified, CodeSha256: answer.CodeSha256,
		State: answer.State, StateReason: answer.StateReason,
	})
	if !ok || p.version != number {
		return published{}, errors.New("decode answer: the version has another form than expected")
	}
	return p, nil
}
