package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// serveLogs serves the logs of one pod and returns the URL of them and the API
// server's side of the connection.
func serveLogs(t *testing.T, containers string) (string, *tls.Config) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop-1", UID: "u", Annotations: map[string]string{scriptAnnotation: containers}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "shop:v1"}, {Name: "proxy", Image: "proxy:v1"}}},
	}
	scripts, err := scriptsOf(pod)
	if err != nil {
		t.Fatal(err)
	}
	pod.Status = podStatus(pod, scripts, "10.244.0.1", metav1.Now())
	ids, err := newIdentities(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	listener, _, err := listenForLogs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	logs := &logServer{pod: func(namespace, name string) (*corev1.Pod, bool) { return pod, namespace == "shop" && name == "shop-1" }}
	ended := make(chan error, 1)
	go func() { ended <- logs.serve(listener, ids) }()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	client, err := tls.LoadX509KeyPair(ids.clientFile, ids.clientKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return "https://" + listener.Addr().String() + "/containerLogs/", &tls.Config{RootCAs: ids.authority, Certificates: []tls.Certificate{client}}
}

func TestContainerLogs(t *testing.T) {
	t.Parallel()
	url, config := serveLogs(t, `{
		"app":   {"state": "running", "restarts": 1, "exit_code": 2, "log": ["a", "b", "c"], "previous": ["x", "y"]},
		"proxy": {"state": "waiting", "reason": "ImagePullBackOff"}
	}`)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	tests := []struct {
		name, path string
		status     int
		body       string
	}{
		{name: "all", path: "shop/shop-1/app", status: 200, body: "a\nb\nc\n"},
		{name: "the last lines", path: "shop/shop-1/app?tailLines=2", status: 200, body: "b\nc\n"},
		{name: "no lines", path: "shop/shop-1/app?tailLines=0", status: 200},
		{name: "the first bytes of the last lines", path: "shop/shop-1/app?tailLines=2&limitBytes=3", status: 200, body: "b\nc"},
		{name: "the run before", path: "shop/shop-1/app?previous=true", status: 200, body: "x\ny\n"},
		{name: "never started", path: "shop/shop-1/proxy", status: 400, body: `container "proxy" in pod "shop-1" is waiting to start: trying and failing to pull image`},
		{name: "no run before", path: "shop/shop-1/proxy?previous=true", status: 400, body: `previous terminated container "proxy" in pod "shop-1" not found`},
		{name: "no such pod", path: "shop/shop-2/app", status: 404, body: `pod "shop-2" does not exist`},
		{name: "no such container", path: "shop/shop-1/web", status: 404, body: `container "web" not found in pod "shop-1"`},
		{name: "following", path: "shop/shop-1/app?follow=true", status: 422, body: "follow is not done here"},
		{name: "no limit", path: "shop/shop-1/app?limitBytes=0", status: 422, body: "must be positive"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			response, err := client.Get(url + test.path)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status {
				t.Errorf("status is %d, want %d", response.StatusCode, test.status)
			}
			if test.status == 200 && string(body) != test.body || !strings.Contains(string(body), test.body) {
				t.Errorf("body is %q, want %q", body, test.body)
			}
		})
	}
}

func TestLogsAreForTheAPIServerOnly(t *testing.T) {
	t.Parallel()
	url, config := serveLogs(t, "")
	config.Certificates = nil
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	response, err := client.Get(url + "shop/shop-1/app")
	if err == nil {
		response.Body.Close()
		t.Fatal("logs were served to a stranger")
	}
	if _, ok := err.(net.Error); !ok || os.IsTimeout(err) {
		t.Errorf("the refusal is %v", err)
	}
}

func TestScriptsAreStrict(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text string }{
		{name: "no JSON", text: `{`},
		{name: "unknown field", text: `{"app": {"state": "running", "logs": []}}`},
		{name: "unknown state", text: `{"app": {"state": "up"}}`},
		{name: "unknown fault", text: `{"app": {"state": "running", "fault": "fire"}}`},
		{name: "unknown container", text: `{"web": {"state": "running"}}`},
		{name: "a crash that never restarted", text: `{"app": {"state": "crashing"}}`},
		{name: "too much", text: `{"app": {"state": "running", "repeat": 1000001}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "shop:v1"}}}}
			pod.Annotations = map[string]string{scriptAnnotation: test.text}
			if _, err := scriptsOf(pod); err == nil {
				t.Error("the script was accepted")
			}
		})
	}
}
