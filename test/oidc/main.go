package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"golang.org/x/text/language"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run serves until standard input ends.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if err := serve(args, stdin, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, err) // There is nowhere else to tell it.
		return 1
	}
	return 0
}

// announcement is the line on standard output.
type announcement struct {
	Issuer       string   `json:"issuer"`
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	People       []person `json:"people"`
}

type person struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// people are the accounts, by their ID.
type people map[string]*storage.User

// GetUserByID finds an account by its ID; nil if there is none.
func (p people) GetUserByID(id string) *storage.User { return p[id] }

// GetUserByUsername finds an account by what is typed; nil if there is none.
func (p people) GetUserByUsername(name string) *storage.User {
	for _, u := range p {
		if u.Username == name {
			return u
		}
	}
	return nil
}

// ExampleClientID is the client that may act for itself: none.
func (people) ExampleClientID() string { return "" }

func serve(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("want the redirect URI of the client")
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	said := announcement{Issuer: "http://" + listener.Addr().String(), ClientID: "backout", ClientSecret: rand.Text()}
	storage.RegisterClients(storage.WebClient(said.ClientID, said.ClientSecret, args[0]))
	accounts := people{}
	for i, name := range []string{"Ada", "Bob"} {
		u := &storage.User{
			ID: fmt.Sprintf("account-%d", i), Username: name + "@example.com", Password: rand.Text(), FirstName: name, LastName: "Example",
			Email: name + "@example.com", EmailVerified: true, PreferredLanguage: language.English,
		}
		accounts[u.ID] = u
		said.People = append(said.People, person{u.Email, u.Password})
	}
	server := &http.Server{
		Handler:           exampleop.SetupServer(said.Issuer, storage.NewStorage(accounts), slog.New(slog.DiscardHandler), false),
		ReadHeaderTimeout: 10 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if err := json.NewEncoder(stdout).Encode(said); err != nil {
		return fmt.Errorf("tell the issuer: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // Its end is what is waited for.
		_ = server.Close()
	}()
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
