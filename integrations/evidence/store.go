package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file:// URLs
	_ "gocloud.dev/blob/gcsblob"  // gs:// URLs
	_ "gocloud.dev/blob/memblob"  // mem:// URLs
	_ "gocloud.dev/blob/s3blob"   // s3:// URLs
	"gocloud.dev/gcerrors"

	"github.com/backout/backout/workflows/incident"
)

// MaxSize is the largest document, in bytes. It is Backout's own bound: a
// document passes through memory and is read by people.
const MaxSize = 16 << 20

// Errors that callers branch on.
var (
	// ErrNotFound means that no document has that digest.
	ErrNotFound = errors.New("no such document")
	// ErrCorrupt means that what is stored does not match its digest.
	ErrCorrupt = errors.New("the document does not match its digest")
	// ErrTooLarge means that a document is larger than MaxSize.
	ErrTooLarge = fmt.Errorf("the document is larger than %d bytes", MaxSize)
	// ErrInvalid means that a digest or media type is none.
	ErrInvalid = errors.New("invalid digest or media type")
)

// Store is an open evidence store. It is safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
	// folder is where a file:// store lives, empty for any other. Its files
	// are synced to disk after each write.
	folder string
	// durable are the folders in it whose own entries are on disk.
	durable sync.Map
}

// Open opens the store that a URL names, such as "file:///var/lib/backout",
// "s3://bucket?region=eu-central-1", "gs://bucket" or, for tests, "mem://". A
// folder is created when there is none. Credentials come from the environment
// the way the cloud's own SDK takes them, never from the URL.
func Open(ctx context.Context, storeURL string) (*Store, error) {
	u, err := url.Parse(storeURL)
	if err != nil {
		// The error of url.Parse repeats the URL.
		return nil, errors.New("open evidence store: the URL is malformed")
	}
	if u.User != nil {
		return nil, fmt.Errorf("open evidence store %q: the URL must not hold credentials", place(u))
	}
	given := u.Query()
	s := &Store{}
	if u.Scheme == "file" {
		if u.Host != "" || u.Path == "" {
			return nil, fmt.Errorf("open evidence store %q: a folder is spelled file:///absolute/path", place(u))
		}
		s.folder = filepath.Clean(filepath.FromSlash(u.Path))
		if err := os.MkdirAll(s.folder, 0o700); err != nil {
			return nil, fmt.Errorf("open evidence store %q: %w", place(u), err)
		}
		q := u.Query()
		// Files beside their final place, so that the rename never crosses
		// devices, and for the owner only.
		q.Set("no_tmp_dir", "true")
		q.Set("dir_file_mode", "0700")
		// Attributes would be a second file that is not written atomically: a
		// crash or another writer would leave a document that cannot be read.
		q.Set("metadata", "skip")
		u.RawQuery = q.Encode()
	}
	s.bucket, err = blob.OpenBucket(ctx, u.String())
	if err != nil {
		return nil, fmt.Errorf("open evidence store %q: %s", place(u), withoutQuery(err, u, given))
	}
	return s, nil
}

// place is a URL without its query: nothing in it is secret.
func place(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// withoutQuery is what the library says of a URL without the values of its query,
// which it repeats: whoever put a key there has made one mistake already.
func withoutQuery(err error, u *url.URL, given url.Values) string {
	text := strings.ReplaceAll(err.Error(), u.String(), place(u))
	for _, values := range given {
		for _, v := range values {
			if v != "" {
				text = strings.ReplaceAll(text, strconv.Quote(v), `"[value]"`)
			}
		}
	}
	return text
}

// Close releases the store.
func (s *Store) Close() error {
	if err := s.bucket.Close(); err != nil {
		return fmt.Errorf("close evidence store: %w", err)
	}
	return nil
}

// Put stores content and returns its digest once it is durable. Storing it
// twice is storing it once; what is stored already is checked, and written
// again if it was damaged. Object stores keep the media type for their own
// tools; a folder does not, and the manifest holds it.
//
// Errors: ErrTooLarge and ErrInvalid are final.
func (s *Store) Put(ctx context.Context, content []byte, mediaType string) (digest string, err error) {
	digest = incident.DigestOf(content)
	switch {
	case len(content) > MaxSize:
		return "", fmt.Errorf("put evidence %s: %w", incident.ShortDigest(digest), ErrTooLarge)
	case mediaType == "":
		return "", fmt.Errorf("put evidence %s: media type is empty: %w", incident.ShortDigest(digest), ErrInvalid)
	}
	_, err = s.Get(ctx, digest)
	switch {
	case err == nil:
		return digest, nil
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrCorrupt):
	default:
		return "", fmt.Errorf("put evidence %s: %w", incident.ShortDigest(digest), err)
	}
	key := keyOf(digest)
	if err := s.bucket.WriteAll(ctx, key, content, &blob.WriterOptions{ContentType: mediaType}); err != nil {
		return "", fmt.Errorf("put evidence %s: %w", incident.ShortDigest(digest), err)
	}
	if err := s.sync(key); err != nil {
		return "", fmt.Errorf("put evidence %s: %w", incident.ShortDigest(digest), err)
	}
	return digest, nil
}

// Get returns the document with a digest. It never returns content that does
// not match: that is ErrCorrupt.
func (s *Store) Get(ctx context.Context, digest string) (content []byte, err error) {
	if !incident.ValidDigest(digest) {
		return nil, fmt.Errorf("get evidence: %w: %q", ErrInvalid, digest)
	}
	r, err := s.bucket.NewReader(ctx, keyOf(digest), nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("get evidence %s: %w", incident.ShortDigest(digest), ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("get evidence %s: %w", incident.ShortDigest(digest), err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(r, MaxSize+1))
	matches := incident.DigestOf(b.Bytes()) == digest
	// An object store that keeps a checksum of its own notices damage as well, once
	// all has come, and calls it an error of its own.
	if err != nil && (matches || int64(b.Len()) != r.Size()) {
		return nil, fmt.Errorf("get evidence %s: %w", incident.ShortDigest(digest), err)
	}
	if !matches {
		return nil, fmt.Errorf("get evidence %s: %w", incident.ShortDigest(digest), ErrCorrupt)
	}
	return b.Bytes(), nil
}

// keyOf spreads documents over folders: "sha256/ab/cdef...".
func keyOf(digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return "sha256/" + hex[:2] + "/" + hex[2:]
}

// sync keeps a written file to its owner, and brings it to disk with the folders
// above whose entries may be new. Other stores are durable when the write returns.
func (s *Store) sync(key string) error {
	if s.folder == "" {
		return nil
	}
	file := filepath.Join(s.folder, filepath.FromSlash(key))
	if err := os.Chmod(file, 0o600); err != nil {
		return err
	}
	var folders []string
	for at := filepath.Dir(file); ; at = filepath.Dir(at) {
		folders = append(folders, at)
		if _, durable := s.durable.Load(at); durable || at == s.folder || at == filepath.Dir(at) {
			break
		}
	}
	for _, path := range append([]string{file}, folders...) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	for _, at := range folders {
		s.durable.Store(at, struct{}{})
	}
	return nil
}
