package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/fluxcd/flagger/pkg/canary"
	clientset "github.com/fluxcd/flagger/pkg/client/clientset/versioned"
	informers "github.com/fluxcd/flagger/pkg/client/informers/externalversions"
	"github.com/fluxcd/flagger/pkg/controller"
	"github.com/fluxcd/flagger/pkg/metrics/observers"
	"github.com/fluxcd/flagger/pkg/notifier"
	"github.com/fluxcd/flagger/pkg/router"
	"github.com/fluxcd/flagger/pkg/version"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const (
	// workers read canaries beside each other.
	workers = 4
	// loop is how often the controller looks whether a canary's schedule has changed.
	// The project's own command has 10 s. A canary whose interval has changed is
	// looked after at once, which is how a test moves it on.
	loop = 50 * time.Millisecond
	// resync is how often everything is looked at again: never, in a test's time.
	resync = time.Hour
	// poll is the time between two looks at what has not come about yet.
	poll = 20 * time.Millisecond
)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// selectorLabels are those of the project's own command.
var selectorLabels = []string{"app", "name", "app.kubernetes.io/name"}

// start makes the resources known and returns when the controller, which runs until
// ctx ends, has read all there is. Ending starting ends the wait.
func start(ctx, starting context.Context, kubeconfig, definition string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS = -1
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	if err := define(starting, objects, definition); err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	flagger, err := clientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	measured, err := observers.NewFactory("http://127.0.0.1:1") // There is no metrics server.
	if err != nil {
		return fmt.Errorf("make client of the metrics server: %w", err)
	}
	nobody, err := notifier.NewFactory("", "", "", "", "").Notifier("slack")
	if err != nil {
		return fmt.Errorf("make notifier: %w", err)
	}
	log.SetOutput(io.Discard)
	quiet := zap.NewNop().Sugar()

	watched := informers.NewSharedInformerFactory(flagger, resync).Flagger().V1beta1()
	canaries, templates, alerts := watched.Canaries(), watched.MetricTemplates(), watched.AlertProviders()
	tracker := &canary.ConfigTracker{Logger: quiet, KubeClient: kube, FlaggerClient: flagger}
	c := controller.NewController(
		kube, flagger,
		controller.Informers{CanaryInformer: canaries, MetricInformer: templates, AlertInformer: alerts},
		loop, quiet, nobody,
		canary.NewFactory(kube, flagger, tracker, selectorLabels, []string{""}, quiet),
		router.NewFactory(config, kube, flagger, "nginx.ingress.kubernetes.io", "", quiet, flagger, true),
		measured, "kubernetes", version.VERSION, "", "", false,
	)
	for _, informer := range []cache.SharedIndexInformer{canaries.Informer(), templates.Informer(), alerts.Informer()} {
		go informer.Run(ctx.Done())
		if !cache.WaitForCacheSync(starting.Done(), informer.HasSynced) {
			return errors.New("wait for the caches: they did not fill in time")
		}
	}
	go func() { _ = c.Run(workers, ctx.Done()) }() // It has no error but the end of ctx.
	return nil
}

// define creates the resources of a file, unless they are there, and returns when
// the API server serves them.
func define(ctx context.Context, objects dynamic.Interface, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read definitions: %w", err)
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read definitions: %w", err)
		}
		wanted := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &wanted.Object); err != nil {
			return fmt.Errorf("decode definition: %w", err)
		}
		if len(wanted.Object) == 0 {
			continue // A comment between two separators.
		}
		if _, err := objects.Resource(definitions).Create(ctx, wanted, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create definition: %w", err)
		}
		if err := served(ctx, objects, wanted); err != nil {
			return err
		}
	}
}

// served returns when the API server serves the resource that a definition defines.
func served(ctx context.Context, objects dynamic.Interface, definition *unstructured.Unstructured) error {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "plural")
	resource := schema.GroupVersionResource{Group: group, Version: "v1beta1", Resource: plural}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		_, err := objects.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %q: %w", plural, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}
