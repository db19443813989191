package kubernetes

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestNumberedHistory(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	rev := func(number int64, digest string, created, numbered int) revision {
		return revision{number: number, digest: digest, created: day(created), numbered: day(numbered)}
	}
	tests := []struct {
		name      string
		revisions []revision
		want      string // number digest@day, and ! before a gap.
		moment    int    // A day.
		before    string // The digest that was in place before it; empty when nobody knows.
		certain   bool
	}{
		{
			name: "nothing came back", revisions: []revision{rev(2, "b", 5, 5), rev(1, "a", 1, 1)},
			want: "1a@1 2b@5", moment: 5, before: "a", certain: true,
		},
		{
			name: "the first came back", revisions: []revision{rev(2, "b", 5, 5), rev(3, "a", 1, 7)},
			want: "1a@1 2b@5 3a@7", moment: 7, before: "b", certain: true,
		},
		{
			name: "and is not the present one", revisions: []revision{rev(2, "b", 5, 5), rev(3, "a", 1, 7), rev(4, "c", 9, 9)},
			want: "1a@1 2b@5 3a@7 4c@9", moment: 9, before: "a", certain: true,
		},
		{
			name: "both came back", revisions: []revision{rev(3, "a", 1, 7), rev(4, "b", 5, 9)},
			want: "1a@1 2b@5 3a@7 4b@9", moment: 7, before: "b", certain: true,
		},
		{
			name: "one came back twice, of which one time is lost", revisions: []revision{rev(4, "b", 5, 9), rev(5, "a", 1, 11)},
			want: "4b@9 5a@11", moment: 9,
		},
		{
			name: "the oldest have left", revisions: []revision{rev(8, "b", 5, 5), rev(9, "c", 6, 6)},
			want: "8b@5 9c@6", moment: 6, before: "b", certain: true,
		},
		{
			name: "one between has left", revisions: []revision{rev(1, "a", 1, 1), rev(3, "c", 6, 6)},
			want: "1a@1! 3c@6", moment: 6,
		},
		{
			name: "some time after a gap began", revisions: []revision{rev(1, "a", 1, 1), rev(3, "c", 6, 6)},
			want: "1a@1! 3c@6", moment: 4, before: "a",
		},
		{
			name: "no record of numbering", revisions: []revision{{number: 1, digest: "a", created: day(1)}},
			want: "1a@1", moment: 2, before: "a", certain: true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newNumberedHistory(test.revisions)
			text := ""
			for _, act := range h.activations {
				text += fmt.Sprintf(" %d%s@%d", act.number, act.revision.digest, act.at.Day())
				if act.gap {
					text += "!"
				}
			}
			require.Equal(t, " "+test.want, text)
			act, certain, ok := h.before(day(test.moment))
			require.Equal(t, test.before != "", ok)
			if ok {
				require.Equal(t, test.before, act.revision.digest)
				require.Equal(t, test.certain, certain)
			}
		})
	}
	h := newNumberedHistory([]revision{rev(2, "b", 5, 5), rev(3, "a", 1, 7)})
	former, ok := h.byNumber(1)
	require.True(t, ok, "a number that a template had before names it still")
	require.Equal(t, "a", former.digest)
}

func TestControllerRevisionIsReadAsItsTemplate(t *testing.T) {
	t.Parallel()
	template := map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "shop"}}, "spec": map[string]any{"containers": []any{map[string]any{"name": "shop", "image": "shop:v1"}}}}
	workload := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": template}}}
	present, err := templateOf(workload)
	require.NoError(t, err)
	want, err := present.digest()
	require.NoError(t, err)

	kept := workload.DeepCopy()
	patch := kept.Object["spec"].(map[string]any)["template"].(map[string]any)
	patch["$patch"] = "replace"
	patch["metadata"].(map[string]any)["creationTimestamp"] = nil
	held := &unstructured.Unstructured{Object: map[string]any{"revision": int64(4), "data": kept.Object}}
	numbered := metav1.NewTime(time.Date(2026, 1, 7, 0, 0, 0, 0, time.UTC))
	held.SetManagedFields([]metav1.ManagedFieldsEntry{
		{Manager: "controller", Time: &numbered, FieldsV1: metav1.NewFieldsV1(`{"f:data":{},"f:revision":{}}`)},
		{Manager: "labeller", Time: new(metav1.NewTime(numbered.Add(time.Hour))), FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{}}`)},
	})
	rev, err := controllerRevision(held)
	require.NoError(t, err)
	require.Equal(t, want, rev.digest)
	require.EqualValues(t, 4, rev.number)
	require.True(t, rev.numbered.Equal(numbered.Time))
	text, err := json.Marshal(rev.template)
	require.NoError(t, err)
	require.NotContains(t, string(text), "$patch", "what is written back must be a template")

	for name, broken := range map[string]map[string]any{
		"no number":   {"data": kept.Object},
		"no data":     {"revision": int64(1)},
		"no template": {"revision": int64(1), "data": map[string]any{"spec": map[string]any{}}},
	} {
		_, err := controllerRevision(&unstructured.Unstructured{Object: broken})
		require.Error(t, err, name)
	}
}

func TestRollouts(t *testing.T) {
	t.Parallel()
	object := func(text string) *unstructured.Unstructured {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &fields))
		return &unstructured.Unstructured{Object: fields}
	}
	tests := []struct {
		name    string
		read    func(*unstructured.Unstructured) (rollout, error)
		object  string
		settled bool
		held    string
		detail  string
	}{
		{"not seen", statefulSetRollout, `{"metadata":{"generation":2},"spec":{"replicas":1},"status":{"observedGeneration":1,"updatedReplicas":1,"availableReplicas":1,"readyReplicas":1,"replicas":1}}`, false, "", "has not begun"},
		{"half way", statefulSetRollout, `{"metadata":{"generation":2},"spec":{"replicas":3},"status":{"observedGeneration":2,"updatedReplicas":1,"availableReplicas":3,"readyReplicas":3,"replicas":3}}`, false, "", "1 of 3 pods updated"},
		{"stuck", statefulSetRollout, `{"metadata":{"generation":2},"spec":{"replicas":3},"status":{"observedGeneration":2,"updatedReplicas":0,"availableReplicas":2,"readyReplicas":2,"replicas":3}}`, false, "", "deleted by hand"},
		{"in parallel nothing is stuck", statefulSetRollout, `{"metadata":{"generation":2},"spec":{"replicas":3,"podManagementPolicy":"Parallel"},"status":{"observedGeneration":2,"updatedReplicas":0,"availableReplicas":2,"readyReplicas":2,"replicas":3}}`, false, "", "0 of 3 pods updated"},
		{"not available", statefulSetRollout, `{"metadata":{"generation":2},"spec":{"replicas":3},"status":{"observedGeneration":2,"updatedReplicas":3,"availableReplicas":2,"readyReplicas":3,"replicas":3}}`, false, "", "2 of 3 pods available"},
		{"done", statefulSetRollout, `{"metadata":{"generation":2},"spec":{"replicas":3},"status":{"observedGeneration":2,"updatedReplicas":3,"availableReplicas":3,"readyReplicas":3,"replicas":3}}`, true, "", "3 of 3 pods available"},
		{"partition", statefulSetRollout, `{"metadata":{"generation":2},"spec":{"replicas":3,"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":2}}},"status":{"observedGeneration":2,"updatedReplicas":1,"availableReplicas":3,"readyReplicas":3,"replicas":3}}`, true, "", "the first 2 keep what they run"},
		{"partition that keeps all", statefulSetRollout, `{"spec":{"replicas":3,"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":5}}},"status":{"availableReplicas":3,"replicas":3}}`, true, "keeps all of its 3 pods", ""},
		{"on delete", statefulSetRollout, `{"spec":{"replicas":1,"updateStrategy":{"type":"OnDelete"}},"status":{"updatedReplicas":1,"availableReplicas":1,"replicas":1}}`, true, "OnDelete", ""},
		{"daemon not seen", daemonSetRollout, `{"metadata":{"generation":2},"status":{"observedGeneration":1,"desiredNumberScheduled":2,"updatedNumberScheduled":2,"numberAvailable":2}}`, false, "", "has not begun"},
		{"daemon half way", daemonSetRollout, `{"status":{"desiredNumberScheduled":2,"updatedNumberScheduled":1,"numberAvailable":2}}`, false, "", "1 of 2 pods updated"},
		{"daemon not available", daemonSetRollout, `{"status":{"desiredNumberScheduled":2,"updatedNumberScheduled":2,"numberAvailable":1}}`, false, "", "1 of 2 pods available"},
		{"daemon done", daemonSetRollout, `{"status":{"desiredNumberScheduled":2,"updatedNumberScheduled":2,"numberAvailable":2}}`, true, "", "2 of 2 pods available"},
		{"daemon on delete", daemonSetRollout, `{"spec":{"updateStrategy":{"type":"OnDelete"}}}`, true, "OnDelete", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, err := test.read(object(test.object))
			require.NoError(t, err)
			require.Equal(t, test.settled, r.settled, r.detail)
			require.Equal(t, test.held == "", r.held == "", r.held)
			require.Contains(t, r.held, test.held)
			require.Contains(t, r.detail, test.detail)
		})
	}
}
