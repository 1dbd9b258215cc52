{{- define "plugyard.reach" }}
{{- if .to }}
- to:
    {{- toYaml .to | nindent 4 }}
  ports:
    {{- range .protocols | default (list "TCP") }}
    - {protocol: {{ . }}, port: {{ include "plugyard.setting" $.port }}}
    {{- end }}
{{- end }}
{{- end }}

{{/* Takes a dict of `root`, `part`, `reaches` (names under .Values.networkPolicy), `served`, `ingress`, `outside`. */}}
{{- define "plugyard.policy" }}
{{- $policy := .root.Values.networkPolicy }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "plugyard.fullname" .root }}-{{ .part }}
  labels:
    {{- include "plugyard.labels" . | nindent 4 }}
  {{- if .hooks }}
  annotations:
    helm.sh/hook: {{ .hooks }}
    helm.sh/hook-weight: "-5"
    helm.sh/hook-delete-policy: before-hook-creation
  {{- end }}
spec:
  podSelector:
    matchLabels:
      {{- include "plugyard.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- $callers := list }}
  {{- if .ingress }}{{ $callers = concat $callers $policy.ingressFrom }}{{ end }}
  {{- if .served }}{{ $callers = concat $callers $policy.metricsFrom }}{{ end }}
  {{- if $callers }}
  ingress:
    - from:
        {{- toYaml $callers | nindent 8 }}
      ports:
        - {protocol: TCP, port: http}
  {{- else }}
  ingress: []
  {{- end }}
  egress:
    {{- include "plugyard.reach" (merge (dict "protocols" (list "UDP" "TCP")) $policy.dns) | indent 4 }}
    {{- range .reaches }}
    {{- include "plugyard.reach" (index $policy .) | indent 4 }}
    {{- end }}
    {{- if and .outside $policy.outside.enabled }}
    - to:
        - ipBlock:
            cidr: 0.0.0.0/0
            except:
              {{- toYaml $policy.outside.exceptIpv4 | nindent 14 }}
        - ipBlock:
            cidr: "::/0"
            except:
              {{- toYaml $policy.outside.exceptIpv6 | nindent 14 }}
      ports:
        {{- range $policy.outside.ports }}
        - {protocol: TCP, port: {{ include "plugyard.setting" . }}}
        {{- end }}
    {{- end }}
{{- end }}
