package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// tailBlock is how much of a file is read at once from its end, in bytes.
const tailBlock = 64 << 10

// FileSink appends every entry to a file, one JSON object a line, on another disk
// or host if it is to prove anything. The file is only ever appended to, also when
// a write was cut short, so that it may be made append-only for everybody; its last
// whole line is the cursor. Several processes may share it.
type FileSink struct {
	path string
	// size and at remember the end of the file as it was found last.
	size int64
	at   Head
}

// NewFileSink returns the sink of a file, whose folder must exist.
func NewFileSink(path string) (*FileSink, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open second copy %q: %w", path, err)
	}
	return &FileSink{path: abs, size: -1}, nil
}

// Name is "file:" and the path.
func (s *FileSink) Name() string { return "file:" + s.path }

// Cursor is the last whole line of the file; zero when there is no file.
func (s *FileSink) Cursor() (Head, error) {
	f, err := os.Open(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return Head{}, nil
	}
	if err != nil {
		return Head{}, fmt.Errorf("read second copy: %w", err)
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	at, _, err := tail(f)
	if err != nil {
		return Head{}, fmt.Errorf("read second copy %q: %w", s.path, err)
	}
	return at, nil
}

func (s *FileSink) forward(_ context.Context, pending func(after Head) ([]row, error)) (_ Head, err error) {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return Head{}, fmt.Errorf("open second copy: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := lockFile(f); err != nil {
		return Head{}, fmt.Errorf("lock second copy %q: %w", s.path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return Head{}, fmt.Errorf("read second copy: %w", err)
	}
	torn := false
	if info.Size() != s.size {
		if s.at, torn, err = tail(f); err != nil {
			return Head{}, fmt.Errorf("read second copy %q: %w", s.path, err)
		}
	}
	rows, err := pending(s.at)
	if err != nil {
		return s.at, err
	}
	if len(rows) == 0 {
		if !torn {
			s.size = info.Size()
		}
		return s.at, nil
	}
	var b []byte
	if torn {
		// A write was cut short: what there is of it stays, on a line of its own.
		b = append(b, '\n')
	}
	for _, r := range rows {
		if b, err = appendJSON(b, r.line()); err != nil {
			return s.at, err
		}
	}
	s.size = -1
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return s.at, fmt.Errorf("write second copy: %w", err)
	}
	if info.Size() == 0 {
		if err := syncFolder(filepath.Dir(s.path)); err != nil {
			return s.at, err
		}
	}
	last := rows[len(rows)-1]
	s.at, s.size = Head{Seq: last.seq, Hash: last.hash}, info.Size()+int64(len(b))
	return s.at, nil
}

// tail finds the last whole line of a file that is an entry, and whether
// something that is none follows it.
func tail(f *os.File) (at Head, torn bool, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return Head{}, false, err
	}
	var rest []byte
	for start := end; start > 0; {
		n := min(start, tailBlock)
		start -= n
		block := make([]byte, n)
		if _, err := f.ReadAt(block, start); err != nil {
			return Head{}, false, err
		}
		rest = append(block, rest...)
		for {
			cut := bytes.LastIndexByte(bytes.TrimSuffix(rest, []byte("\n")), '\n')
			if cut < 0 && start > 0 {
				break
			}
			last := rest[cut+1:]
			if l, err := parseLine(last); err == nil && l.End == nil && bytes.HasSuffix(last, []byte("\n")) {
				return Head{Seq: l.Seq, Hash: l.Hash}, torn, nil
			}
			// A line that ended is on a line of its own already.
			torn = torn || len(last) > 0 && !bytes.HasSuffix(last, []byte("\n"))
			if rest = rest[:cut+1]; len(rest) == 0 {
				break
			}
		}
		if len(rest) > maxLine {
			return Head{}, false, errNotALine
		}
	}
	return Head{}, torn, nil
}
