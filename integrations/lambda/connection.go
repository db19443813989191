package lambda

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	api "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "lambda"

const (
	// requestTimeout bounds one request, with its answer.
	requestTimeout = 10 * time.Second
	// credentialLife is how long a key that was read from its file is used.
	credentialLife = time.Minute
)

func init() {
	driver.RegisterSystem(systemType, open)
}

// Settings are the configuration of Lambda in one account and region. Without a key
// the credential is found as the AWS command line does: environment, shared files,
// web identity, instance. Secrets are in files, never in the settings, and are read
// again every minute, so that they can be rotated.
type Settings struct {
	// Region is such as "eu-central-1".
	Region string `yaml:"region" json:"region"`
	// URL is that of another endpoint than the region's own, such as one in a VPC.
	URL string `yaml:"url" json:"url"`
	// AccessKeyID and SecretAccessKeyFile are a key; SessionTokenFile belongs to one
	// that is temporary.
	AccessKeyID         string `yaml:"access_key_id" json:"access_key_id"`
	SecretAccessKeyFile string `yaml:"secret_access_key_file" json:"secret_access_key_file"`
	SessionTokenFile    string `yaml:"session_token_file" json:"session_token_file"`
}

// connection is Lambda in one account and region.
type connection struct {
	settings Settings

	mu     sync.Mutex
	client *api.Client
}

// open checks the settings. It asks nobody for anything.
func open(_ context.Context, s driver.System) (*connection, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	if settings.Region == "" {
		return nil, errors.New("read settings: region is empty")
	}
	if settings.URL != "" {
		// The error of Parse would repeat what was configured.
		u, err := url.Parse(settings.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errors.New("read settings: url is malformed, want https://host")
		}
		if u.User != nil {
			return nil, errors.New("read settings: url holds a credential, which belongs into a file")
		}
	}
	if (settings.AccessKeyID == "") != (settings.SecretAccessKeyFile == "") {
		return nil, errors.New("read settings: access_key_id and secret_access_key_file belong together")
	}
	if settings.SessionTokenFile != "" && settings.AccessKeyID == "" {
		return nil, errors.New("read settings: session_token_file belongs to access_key_id")
	}
	if settings.AccessKeyID != "" {
		if _, err := settings.key(time.Now()); err != nil {
			return nil, err
		}
	}
	return &connection{settings: settings}, nil
}

// key reads the key of the settings.
func (s Settings) key(now time.Time) (aws.Credentials, error) {
	found := aws.Credentials{AccessKeyID: s.AccessKeyID, CanExpire: true, Expires: now.Add(credentialLife), Source: "backout"}
	var err error
	if found.SecretAccessKey, err = secret(s.SecretAccessKeyFile); err != nil {
		return aws.Credentials{}, err
	}
	if s.SessionTokenFile != "" {
		if found.SessionToken, err = secret(s.SessionTokenFile); err != nil {
			return aws.Credentials{}, err
		}
	}
	return found, nil
}

// secret reads a file that holds one line.
func secret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read settings: %w", err)
	}
	line := strings.TrimRight(string(content), "\r\n")
	if line == "" {
		return "", fmt.Errorf("read settings: %q is empty", path)
	}
	return line, nil
}

// lambda returns the client, and makes it at the first call. Its requests are not
// repeated by itself: whoever calls looks first what became of the one before.
func (c *connection) lambda(ctx context.Context) (*api.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		return c.client, nil
	}
	var made aws.Config
	if c.settings.AccessKeyID != "" {
		made.Region = c.settings.Region
		made.Credentials = aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return c.settings.key(time.Now())
		}))
	} else {
		var err error
		if made, err = config.LoadDefaultConfig(ctx, config.WithRegion(c.settings.Region)); err != nil {
			return nil, errors.New("find a credential: the environment or the shared files are malformed")
		}
	}
	c.client = api.NewFromConfig(made, func(o *api.Options) {
		o.AppID = "backout"
		o.Logger = logging.Nop{}
		o.Retryer = aws.NopRetryer{}
		if c.settings.URL != "" {
			o.BaseEndpoint = aws.String(c.settings.URL)
		}
	})
	return c.client, nil
}

// call makes one request.
func (c *connection) call(ctx context.Context, what string, request func(ctx context.Context, client *api.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	client, err := c.lambda(ctx)
	if err != nil {
		return err
	}
	if err := request(ctx, client); err != nil {
		return fmt.Errorf("%s: %w", what, classify(ctx, err))
	}
	return nil
}

// Reach asks for the settings of the account. Only Lambda itself can refuse that with
// a denial: a credential that may not ask it is one that Lambda knows.
func (c *connection) Reach(ctx context.Context) error {
	err := c.call(ctx, "read account settings", func(ctx context.Context, client *api.Client) error {
		_, err := client.GetAccountSettings(ctx, &api.GetAccountSettingsInput{})
		return err
	})
	if errors.Is(err, errForbidden) {
		return nil
	}
	return err
}

// What a request can find, beside the driver's final errors.
var (
	// errForbidden is a denial of what was asked, not of the credential.
	errForbidden = fmt.Errorf("%w: the policies of the credential do not allow it", driver.ErrDenied)
	// errMoved means that the alias has another RevisionId.
	errMoved = errors.New("the alias was changed meanwhile")
)

// maxSaid is the longest text of Lambda that is taken into an error, in characters.
const maxSaid = 200

// classify decides once what an error of the API means. What is not one of the
// driver's final errors can be tried again: throttling, conflicts with an operation
// under way, faults of the service, connections that broke.
// Source: https://docs.aws.amazon.com/lambda/latest/api/API_UpdateAlias.html and
// https://docs.aws.amazon.com/lambda/latest/api/CommonErrors.html
func classify(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var said smithy.APIError
	if !errors.As(err, &said) {
		return fmt.Errorf("request: %s", printable(err.Error()))
	}
	switch code := said.ErrorCode(); code {
	case "ResourceNotFoundException":
		return driver.ErrNotFound
	case "PreconditionFailedException":
		return errMoved
	case "AccessDeniedException", "AccessDenied":
		return errForbidden // The text names the credential.
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch",
		"IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "ExpiredToken",
		"ExpiredTokenException", "NotAuthorized", "OptInRequired":
		return fmt.Errorf("%w: Lambda refused the credential (%s)", driver.ErrDenied, code)
	case "InvalidParameterValueException", "ValidationException", "ValidationError", "InvalidParameterCombination":
		return fmt.Errorf("%w: %s", driver.ErrInvalid, printable(said.ErrorMessage()))
	default:
		return fmt.Errorf("%s: %s", printable(code), printable(said.ErrorMessage()))
	}
}

// printable makes one short line of text from outside.
func printable(text string) string {
	line := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text))
	return string(line[:min(len(line), maxSaid)])
}
