package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

// maxConnections bounds what one test asks for at a time.
const maxConnections = 64

// maxParts is the most parts of a multipart upload.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
const maxParts = 10_000

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run serves until the standard input ends.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// The gateway greets on standard output, which belongs to the address.
	os.Stdout = os.Stderr
	if err := serve(args, bufio.NewReader(stdin), stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, err) // There is nowhere else to tell it.
		return 1
	}
	return 0
}

func serve(args []string, stdin *bufio.Reader, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("want the path of a folder")
	}
	account, err := stdin.ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the account: %w", err)
	}
	access, secret, ok := strings.Cut(strings.TrimSpace(account), " ")
	if !ok {
		return errors.New("want an access key and a secret key on one line")
	}
	buckets, side := filepath.Join(args[0], "buckets"), filepath.Join(args[0], "side")
	for _, dir := range []string{buckets, side} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	// Attributes in files of their own: not every file system has extended ones.
	attributes, err := meta.NewSideCar(side)
	if err != nil {
		return fmt.Errorf("open attributes: %w", err)
	}
	store, err := posix.New(buckets, attributes, posix.PosixOpts{SideCarDir: side, NewDirPerm: 0o700, NewFilePerm: 0o600})
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	// The gateway does not say which port it was given, so it has a socket, and the
	// port leads there.
	socket := filepath.Join(args[0], "s3.sock")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	listening, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- embedgw.RunVersityGW(ctx, store, &embedgw.Config{
			RootUserAccess: access, RootUserSecret: secret, Ports: []string{socket}, Quiet: true, KeepAlive: true,
			MaxConnections: maxConnections, MaxRequests: maxConnections, MultipartMaxParts: maxParts,
			S3Options: []s3api.Option{s3api.WithOnListen(func() { close(listening) })},
		})
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("run the gateway: %w", err)
	case <-listening:
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go forward(listener, socket)
	if _, err := fmt.Fprintln(stdout, listener.Addr()); err != nil {
		return fmt.Errorf("tell the address: %w", err)
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}

// forward leads every connection to the socket.
func forward(listener net.Listener, socket string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("unix", socket)
			if err != nil {
				return
			}
			defer server.Close()
			go func() {
				_, _ = io.Copy(server, client) // The other direction notices.
				_ = server.(*net.UnixConn).CloseWrite()
			}()
			_, _ = io.Copy(client, server)
		}()
	}
}
