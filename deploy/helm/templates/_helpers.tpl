{{- define "selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* How a probe asks for the health of a service: a kubelet's gRPC probe speaks no TLS, the HTTP port is always plaintext. */ -}}
{{- define "alive" -}}
{{- if .Values.tls.secretName -}}
httpGet:
  port: http
  path: /livez
{{- else -}}
grpc:
  port: 50051
  service: ""
{{- end }}
{{- end }}

{{- define "ready" -}}
{{- if .Values.tls.secretName -}}
httpGet:
  port: http
  path: /readyz
{{- else -}}
grpc:
  port: 50051
  service: keyauthority.v1.KeyAuthority
{{- end }}
{{- end }}
