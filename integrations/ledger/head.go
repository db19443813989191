package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// headSuffix names the file beside the database that holds the Head.
const headSuffix = ".head"

// Head is the end of a ledger: how many entries there are, and the hash that
// stands for all of them. The zero value is the head of an empty ledger.
type Head struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// readHead reads the head file of the ledger at path.
func readHead(path string) (h Head, found bool, err error) {
	b, err := os.ReadFile(path + headSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return Head{}, false, nil
	}
	if err != nil {
		return Head{}, false, fmt.Errorf("read head file: %w", err)
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return Head{}, false, fmt.Errorf("the head file is unreadable: %w", ErrTampered)
	}
	return h, true, nil
}

// writeHead replaces the head file. The caller holds the write lock.
func writeHead(path string, h Head) error {
	if err := replaceFile(path+headSuffix, h); err != nil {
		return fmt.Errorf("write head file: %w", err)
	}
	return nil
}

// replaceFile writes a head so that a crash leaves the old one or the new one.
func replaceFile(path string, h Head) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	next := path + ".next"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a rename survive a loss of power.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
