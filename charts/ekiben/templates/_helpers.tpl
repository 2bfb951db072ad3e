{{- define "ekiben.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "ekiben.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "ekiben.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "ekiben.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "ekiben.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ekiben.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* managed-by is Helm's: the operator's own children are told apart by `app.kubernetes.io/managed-by: ekiben`. */}}
{{- define "ekiben.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "ekiben.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "ekiben.adapterSelectorLabels" -}}
app.kubernetes.io/name: {{ include "ekiben.name" . }}-adapter
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ekiben.adapterLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "ekiben.adapterSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "ekiben.activatorSelectorLabels" -}}
app.kubernetes.io/name: {{ include "ekiben.name" . }}-activator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ekiben.activatorLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "ekiben.activatorSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Whose a request is, and where to send it: the activator reads, and writes nothing. */}}
{{- define "ekiben.activatorRules" -}}
- apiGroups: [ekiben.dev]
  resources: [modeldeployments]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end -}}

{{- define "ekiben.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "ekiben.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What the operator does in a namespace that it serves: exactly the verbs that it uses. */}}
{{- define "ekiben.modelRules" -}}
- apiGroups: [ekiben.dev]
  resources: [modeldeployments]
  verbs: [get, list, watch]
- apiGroups: [ekiben.dev]
  resources: [modelanalyses]
  verbs: [list, watch]
- apiGroups: [ekiben.dev]
  resources: [modeldeployments/status]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments, controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
# Tracked ConfigMaps are followed by name and read; each revision has a copy of its own.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# The slice that leads a sleeping model's Service to the activator; it goes when that is uninstalled too.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.keda.enabled }}
- apiGroups: [keda.sh]
  resources: [scaledobjects, triggerauthentications]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- if ne .Values.preflight "none" }}
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [list]
{{- end }}
{{- end -}}

{{/* What it reads everywhere: Gateways live in other namespaces, and so do routes that claim the same hostname. */}}
{{- define "ekiben.clusterRules" -}}
{{- if eq .Values.preflight "nodes" }}
- apiGroups: [""]
  resources: [nodes, pods]
  verbs: [list]
- apiGroups: [scheduling.k8s.io]
  resources: [priorityclasses]
  verbs: [list]
- apiGroups: [resource.k8s.io]
  resources: [deviceclasses]
  verbs: [list]
{{- end }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, gateways, gatewayclasses]
  verbs: [list, watch]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [modeldeployments.ekiben.dev, modelanalyses.ekiben.dev]
  verbs: [get]
{{- end -}}
