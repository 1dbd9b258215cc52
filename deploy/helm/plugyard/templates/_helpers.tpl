{{- define "plugyard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "plugyard.fullname" -}}
{{- $name := include "plugyard.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What a selector names; it can never change. Takes a dict of `root` and `part`. */}}
{{- define "plugyard.selector" -}}
app.kubernetes.io/name: {{ include "plugyard.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "plugyard.labels" -}}
{{ include "plugyard.selector" . }}
app.kubernetes.io/part-of: plugyard
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "plugyard.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "plugyard.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "plugyard.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{/* A setting as a variable has it. Numbers of a values file are floating; whole ones are shown without an exponent. */}}
{{- define "plugyard.setting" -}}
{{- if kindIs "slice" . -}}
{{- join " " . -}}
{{- else if and (kindIs "float64" .) (eq (float64 (int64 .)) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end }}

{{/* The variables of a container. Takes a dict of `root`, `part`, and `secrets`, the names of groups under
     .Values.secrets. Where relays run apart, Kafka is theirs, for whoever serves and is named a Kafka relays as well; and
     the workers', where they read what the platform says. */}}
{{- define "plugyard.variables" -}}
{{- $objects := .root.Values.settings.objects_url -}}
{{- $reason := "settings.objects_url must name a bucket (s3://...): a pod's own folder goes with the pod" -}}
{{- if not (hasPrefix "s3://" (toString (required $reason $objects))) }}{{ fail $reason }}{{ end -}}
- name: PLUGYARD_HOST
  value: "0.0.0.0"
- name: PLUGYARD_PORT
  value: "8787"
- name: PLUGYARD_DATA
  value: /var/lib/plugyard
- name: TMPDIR
  value: /tmp
{{- range $name, $value := .root.Values.settings }}
{{- $shown := include "plugyard.setting" $value }}
{{- $reads := and (eq $.part "worker") $.root.Values.settings.kafka_inbox_topic }}
{{- $theirs := and (hasPrefix "kafka_" $name) $.root.Values.relay.enabled (ne $.part "relay") (not $reads) }}
{{- if and (ne $shown "") (not $theirs) }}
- name: PLUGYARD_{{ upper $name }}
  value: {{ $shown | quote }}
{{- end }}
{{- end }}
{{- if and .root.Values.relay.enabled .root.Values.settings.kafka_url (ne .part "relay") }}
- name: PLUGYARD_RELAY_ELSEWHERE
  value: "true"
{{- end }}
{{- range $group := .secrets }}
{{- $secret := index $.root.Values.secrets $group }}
{{- range $variable, $key := $secret.keys }}
{{- if $key }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret.name }}
      key: {{ $key }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What holds for the whole pod, whatever runs in it. Takes a dict of `root` and `part`. */}}
{{- define "plugyard.pod" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: false
# Otherwise a Service named plugyard puts PLUGYARD_PORT=tcp://... into every pod of its namespace.
enableServiceLinks: false
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ include "plugyard.setting" $values.security.user }}
  runAsGroup: {{ include "plugyard.setting" $values.security.user }}
  fsGroup: {{ include "plugyard.setting" $values.security.user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    {{- toYaml $values.security.seccompProfile | nindent 4 }}
  appArmorProfile:
    {{- toYaml $values.security.appArmorProfile | nindent 4 }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: data
    emptyDir:
      sizeLimit: {{ $values.data.size }}
  - name: temporary
    emptyDir:
      sizeLimit: {{ $values.temporary.size }}
{{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "plugyard.spread" -}}
topologySpreadConstraints:
{{- $selector := include "plugyard.selector" . }}
{{- range .root.Values.topologySpread.keys }}
  - maxSkew: {{ include "plugyard.setting" $.root.Values.topologySpread.maxSkew }}
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
{{- end }}
{{- end }}

{{/* The container of a part. Takes a dict of `root`, `part`, `command`, `secrets`, `resources`, and `served` where it
     answers probes. */}}
{{- define "plugyard.container" -}}
{{- $values := .root.Values -}}
- name: {{ .part }}
  image: {{ include "plugyard.image" .root }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  args:
    {{- toYaml .command | nindent 4 }}
  env:
    {{- include "plugyard.variables" (dict "root" .root "part" .part "secrets" .secrets) | nindent 4 }}
  {{- if .served }}
  ports:
    - name: http
      containerPort: 8787
  # A start makes no guest and no database, so it is a matter of seconds; a slow disk has a minute.
  startupProbe:
    httpGet: {path: /health/live, port: http}
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /health/live, port: http}
    periodSeconds: 10
    timeoutSeconds: 3
    failureThreshold: 3
  readinessProbe:
    httpGet: {path: /health/ready, port: http}
    periodSeconds: 2
    timeoutSeconds: 3
    failureThreshold: 2
  lifecycle:
    preStop:
      sleep:
        seconds: {{ include "plugyard.setting" $values.preStopSeconds }}
  {{- end }}
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
  volumeMounts:
    - name: data
      mountPath: /var/lib/plugyard
    - name: temporary
      mountPath: /tmp
    {{- with $values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* A Deployment. Takes a dict of `root`, `part`, `command`, `secrets`, `values`. */}}
{{- define "plugyard.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "plugyard.fullname" .root }}-{{ .part }}
  labels:
    {{- include "plugyard.labels" . | nindent 4 }}
spec:
  {{- $scaling := .values.autoscaling | default dict }}
  {{- if not $scaling.enabled }}
  replicas: {{ include "plugyard.setting" .values.count }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- include "plugyard.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "plugyard.labels" . | nindent 8 }}
        {{- with .root.Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .root.Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      terminationGracePeriodSeconds: {{ include "plugyard.setting" .root.Values.terminationGracePeriodSeconds }}
      {{- $pod := dict "root" .root "part" .part "account" (include "plugyard.serviceAccount" .root) }}
      {{- include "plugyard.pod" $pod | nindent 6 }}
      {{- include "plugyard.spread" . | nindent 6 }}
      containers:
        {{- include "plugyard.container" (merge (dict "served" true "resources" .values.resources) .) | nindent 8 }}
{{- end }}

{{/* The migrations of one phase. Takes a dict of `root`, `phase`, `hooks`. */}}
{{- define "plugyard.migration" -}}
{{- $part := printf "migrate-%s" .phase -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "plugyard.fullname" .root }}-{{ $part }}
  labels:
    {{- include "plugyard.labels" (dict "root" .root "part" $part) | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .hooks }}
    helm.sh/hook-weight: "0"
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  # A migration that failed is for a person to look at; the one after it would meet the same.
  backoffLimit: 2
  activeDeadlineSeconds: {{ include "plugyard.setting" .root.Values.migrations.deadlineSeconds }}
  template:
    metadata:
      labels:
        {{- include "plugyard.labels" (dict "root" .root "part" $part) | nindent 8 }}
    spec:
      restartPolicy: Never
      {{- /* The release's own account is not there yet when the first hook runs. */}}
      {{- include "plugyard.pod" (dict "root" .root "part" $part "account" "default") | nindent 6 }}
      containers:
        {{- $command := list "migrate" "--phase" .phase }}
        {{- $container := dict "root" .root "part" $part "command" $command "secrets" (list "migrations") }}
        {{- $container = merge (dict "served" false "resources" .root.Values.migrations.resources) $container }}
        {{- include "plugyard.container" $container | nindent 8 }}
{{- end }}
