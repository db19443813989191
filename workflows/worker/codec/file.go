package codec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// maxKeyFile is the largest key file that is read, in bytes; a line of a
	// key takes 45.
	maxKeyFile = 64 << 10

	// forbiddenMode are the permissions that a key file must not have: writable
	// by its group, anything for everybody else. A group may read it, because
	// that is how Kubernetes mounts a secret for a user that is not root.
	forbiddenMode = 0o027
)

// ErrKeyFileMissing says that there is no key file although there are
// workflows that only its keys can read.
var ErrKeyFileMissing = errors.New("the key file is missing, and a new key could not read what is stored; " +
	"restore the file from a backup, or move the stored workflows away to start without them")

// LoadKeyFile reads the keys in the file: one a line in standard base64, the
// first encrypts. A file that others can read, that somebody else than its
// owner can write, or that has no valid key is an error.
func LoadKeyFile(path string) (*Keys, error) {
	text, err := ReadKeyFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("open key file %q: %w", path, err)
	}
	return keys, nil
}

// ReadKeyFile reads a file of keys of any kind. A file that others can read, or that
// somebody else than its owner can write, is an error. No error quotes the text.
func ReadKeyFile(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("inspect key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open key file %q: it is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&forbiddenMode != 0 {
		return nil, fmt.Errorf("open key file %q: its mode %04o lets others in, want 0600", path, mode)
	}
	if info.Size() > maxKeyFile {
		return nil, fmt.Errorf("open key file %q: it has %d bytes, more than %d", path, info.Size(), maxKeyFile)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	return text, nil
}

// LoadOrCreateKeyFile is LoadKeyFile, except that a file that does not exist
// is created with mode 0600 and one new key. With hasHistory, which says that
// workflows were stored before, it creates nothing: the error is
// ErrKeyFileMissing. Several processes may start at once; all get one key.
func LoadOrCreateKeyFile(path string, hasHistory bool) (*Keys, error) {
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return LoadKeyFile(path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("inspect key file: %w", err)
	case hasHistory:
		return nil, fmt.Errorf("open key file %q: %w", path, ErrKeyFileMissing)
	}
	keys, err := NewKeys(GenerateKey())
	if err != nil {
		return nil, err
	}
	if err := CreateKeyFile(path, keys.format()); err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	// Whoever was first, the file says which key it is.
	return LoadKeyFile(path)
}

// CreateKeyFile writes the whole file, with mode 0600, to disk before it gets its
// name, and leaves alone a file that has the name already.
func CreateKeyFile(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	draft, err := draftKeyFile(dir, text)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(draft)) }()
	if err := os.Link(draft, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

// ReplaceKeyFile puts a whole file of mode 0600 in the place of the one that has the
// name. A crash leaves the old one or the new one.
func ReplaceKeyFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	draft, err := draftKeyFile(dir, text)
	if err != nil {
		return err
	}
	if err := os.Rename(draft, path); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return syncDir(dir)
}

// draftKeyFile writes a file of mode 0600 to disk under a name of its own.
func draftKeyFile(dir string, text []byte) (name string, err error) {
	draft, err := os.CreateTemp(dir, ".key-*") // It creates with mode 0600.
	if err != nil {
		return "", err
	}
	_, err = draft.Write(text)
	if err := errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return "", errors.Join(err, os.Remove(draft.Name()))
	}
	return draft.Name(), nil
}

// syncDir makes a new name in dir survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
