package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/argoproj/argo-rollouts/controller/metrics"
	clientset "github.com/argoproj/argo-rollouts/pkg/client/clientset/versioned"
	rolloutscheme "github.com/argoproj/argo-rollouts/pkg/client/clientset/versioned/scheme"
	"github.com/argoproj/argo-rollouts/rollout"
	"github.com/argoproj/argo-rollouts/utils/defaults"
	ingressutil "github.com/argoproj/argo-rollouts/utils/ingress"
	istioutil "github.com/argoproj/argo-rollouts/utils/istio"
	"github.com/argoproj/argo-rollouts/utils/queue"
	"github.com/argoproj/argo-rollouts/utils/record"
	"github.com/argoproj/argo-rollouts/utils/tolerantinformer"
	smiclientset "github.com/servicemeshinterface/smi-sdk-go/pkg/gen/client/split/clientset/versioned"
	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/yaml"
)

const (
	// workers reconcile beside each other.
	workers = 10
	// resync is how often everything is looked at again: never, in a test's time.
	resync = time.Hour
	// poll is the time between two looks at what has not come about yet.
	poll = 20 * time.Millisecond
)

var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	rollouts    = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}
)

// start makes the resource known and returns when the controller, which runs until
// ctx ends, has read all there is. Ending starting ends the wait.
func start(ctx, starting context.Context, kubeconfig, definition string) error {
	logrus.SetLevel(logrus.ErrorLevel)
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
	argo, err := clientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	mesh, err := smiclientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	if err := rolloutscheme.AddToScheme(scheme.Scheme); err != nil {
		return fmt.Errorf("register types: %w", err)
	}
	defaults.SetIstioAPIVersion(defaults.DefaultIstioVersion)

	started := informers.NewSharedInformerFactory(kube, resync)
	watched := dynamicinformer.NewDynamicSharedInformerFactory(objects, resync)
	// These resources are not defined here; their lists stay empty.
	absent := dynamicinformer.NewDynamicSharedInformerFactory(objects, resync)
	rolloutInformer := tolerantinformer.NewTolerantRolloutInformer(watched)
	runInformer := tolerantinformer.NewTolerantAnalysisRunInformer(absent)
	templateInformer := tolerantinformer.NewTolerantAnalysisTemplateInformer(absent)
	clusterTemplateInformer := tolerantinformer.NewTolerantClusterAnalysisTemplateInformer(absent)
	experimentInformer := tolerantinformer.NewTolerantExperimentInformer(absent)
	ingresses, err := ingressutil.NewIngressWrapper(ingressutil.IngressModeNetworking, kube, started)
	if err != nil {
		return fmt.Errorf("watch ingresses: %w", err)
	}
	ingressInformer := ingresses.Informer() // Only what was asked for is started.
	requests := &metrics.K8sRequestsCountProvider{}
	sets, services := started.Apps().V1().ReplicaSets(), started.Core().V1().Services()

	controller := rollout.NewController(rollout.ControllerConfig{
		Namespace:                       metav1.NamespaceAll,
		KubeClientSet:                   kube,
		ArgoProjClientset:               argo,
		DynamicClientSet:                objects,
		RefResolver:                     rollout.NewInformerBasedWorkloadRefResolver(metav1.NamespaceAll, objects, kube.Discovery(), argo, rolloutInformer.Informer()),
		SmiClientSet:                    mesh,
		ExperimentInformer:              experimentInformer,
		AnalysisRunInformer:             runInformer,
		AnalysisTemplateInformer:        templateInformer,
		ClusterAnalysisTemplateInformer: clusterTemplateInformer,
		IstioPrimaryDynamicClient:       objects,
		IstioVirtualServiceInformer:     absent.ForResource(istioutil.GetIstioVirtualServiceGVR()).Informer(),
		IstioDestinationRuleInformer:    absent.ForResource(istioutil.GetIstioDestinationRuleGVR()).Informer(),
		ReplicaSetInformer:              sets,
		ServicesInformer:                services,
		IngressWrapper:                  ingresses,
		RolloutsInformer:                rolloutInformer,
		ResyncPeriod:                    resync,
		RolloutWorkQueue:                newQueue("Rollouts"),
		ServiceWorkQueue:                newQueue("Services"),
		IngressWorkQueue:                newQueue("Ingresses"),
		// It counts, and is not started.
		MetricsServer: metrics.NewMetricsServer(metrics.ServerConfig{
			RolloutLister:                 rolloutInformer.Lister(),
			AnalysisRunLister:             runInformer.Lister(),
			AnalysisTemplateLister:        templateInformer.Lister(),
			ClusterAnalysisTemplateLister: clusterTemplateInformer.Lister(),
			ExperimentLister:              experimentInformer.Lister(),
			K8SRequestProvider:            requests,
		}),
		Recorder:                    record.NewEventRecorder(kube, metrics.MetricRolloutEventsTotal, metrics.MetricNotificationFailedTotal, metrics.MetricNotificationSuccessTotal, metrics.MetricNotificationSend, nil),
		EphemeralMetadataThreads:    rollout.DefaultEphemeralMetadataThreads,
		EphemeralMetadataPodRetries: rollout.DefaultEphemeralMetadataPodRetries,
	})
	watched.Start(ctx.Done())
	started.Start(ctx.Done())
	if !cache.WaitForCacheSync(starting.Done(), rolloutInformer.Informer().HasSynced, sets.Informer().HasSynced, services.Informer().HasSynced, ingressInformer.HasSynced) {
		return errors.New("wait for the caches: they did not fill in time")
	}
	go func() { _ = controller.Run(ctx, workers) }() // It has no error but the end of ctx.
	return nil
}

// newQueue is a work queue with the project's own delays between attempts.
func newQueue(name string) workqueue.RateLimitingInterface { //nolint:staticcheck // The controller wants this type.
	return workqueue.NewNamedRateLimitingQueue(queue.DefaultArgoRolloutsRateLimiter(), name) //nolint:staticcheck // As above.
}

// define creates the resource Rollout, unless it is there, and returns when the API
// server serves it.
func define(ctx context.Context, objects dynamic.Interface, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read definition: %w", err)
	}
	wanted := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(content, &wanted.Object); err != nil {
		return fmt.Errorf("decode definition: %w", err)
	}
	if _, err := objects.Resource(definitions).Create(ctx, wanted, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create definition: %w", err)
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		_, err := objects.Resource(rollouts).List(ctx, metav1.ListOptions{Limit: 1})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the resource: %w", errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}
