{{/* What differs between the ways to make a cluster. */}}
{{- define "azekura.platform" -}}
{{- $platforms := .Files.Get "files/platforms.yaml" | fromYaml -}}
{{- get $platforms .Values.platform | toYaml -}}
{{- end -}}

{{- define "azekura.kubeletDir" -}}
{{- (include "azekura.platform" . | fromYaml).kubeletDir -}}
{{- end -}}

{{- define "azekura.labels" -}}
app.kubernetes.io/name: azekura
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: azekura
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* Names the pods of one role; never changes, since selectors cannot. Call with (list . "agent"). */}}
{{- define "azekura.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: azekura
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "azekura.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* The image of a sidecar. Call with (list . "provisioner"). */}}
{{- define "azekura.sidecar" -}}
{{- $root := index . 0 -}}
{{- $image := get $root.Values.sidecars (index . 1) -}}
image: {{ $image.repository }}:{{ $image.tag }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- end -}}

{{/* Of all containers but the agent's, which works on the host. */}}
{{- define "azekura.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* "true" when snapshots are served. */}}
{{- define "azekura.snapshots" -}}
{{- if eq .Values.snapshots.mode "auto" -}}
{{- if .Capabilities.APIVersions.Has "snapshot.storage.k8s.io/v1" }}true{{ end -}}
{{- else if eq .Values.snapshots.mode "on" }}true{{ end -}}
{{- end -}}

{{- define "azekura.groupSnapshots" -}}
{{- if and (include "azekura.snapshots" .) (or (eq .Values.snapshots.mode "on") (.Capabilities.APIVersions.Has "groupsnapshot.storage.k8s.io/v1")) }}true{{ end -}}
{{- end -}}

{{- define "azekura.monitoring" -}}
{{- if eq .Values.monitoring.mode "auto" -}}
{{- if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }}true{{ end -}}
{{- else if eq .Values.monitoring.mode "on" }}true{{ end -}}
{{- end -}}

{{/* What all sidecars are told. Each elects the one that works; CSI is served by every controller. */}}
{{- define "azekura.sidecarArgs" -}}
- --csi-address=/run/azekura/csi/csi.sock
- --timeout=60s
- --retry-interval-max=30s
- --leader-election
- --leader-election-namespace={{ .Release.Namespace }}
# Twice the usual times: on small machines a sidecar that gives up its lease because all is slow makes it slower.
- --leader-election-lease-duration=30s
- --leader-election-renew-deadline=20s
- --leader-election-retry-period=5s
{{- end -}}

{{/* The end of every sidecar's container. */}}
{{- define "azekura.sidecarEnd" -}}
securityContext: {{- include "azekura.restricted" . | nindent 2 }}
resources:
  requests: { cpu: 10m, memory: 32Mi }
  limits: { memory: 256Mi }
volumeMounts:
  - { name: run, mountPath: /run/azekura }
{{- end -}}

{{/* The part of agent.dataDir before the node's name: what is taken from the host. */}}
{{- define "azekura.dataRoot" -}}
{{- .Values.agent.dataDir | replace "/$(NODE_NAME)" "" -}}
{{- end -}}

{{/* Folders of pools that lie outside of the data folder, as a list of name and path. */}}
{{- define "azekura.poolFolders" -}}
{{- $root := printf "%s/" (include "azekura.dataRoot" .) -}}
{{- $folders := list -}}
{{- range .Values.pools -}}
{{- $path := "" -}}
{{- if eq .source.kind "directory" }}{{ $path = .source.path }}{{ end -}}
{{- if eq .source.kind "image" }}{{ $path = dir .source.path }}{{ end -}}
{{- if and $path (not (hasPrefix $root (printf "%s/" $path))) -}}
{{- $folders = append $folders (dict "name" (printf "pool-%s" .name) "path" $path) -}}
{{- end -}}
{{- end -}}
{{- $folders | toYaml -}}
{{- end -}}
