# A key of Key Authority whose token neither the state nor a plan contains. docs/terraform.md explains it.

terraform {
  required_version = ">= 1.11" # for write-only arguments
}

variable "api" {
  description = "The URL of the HTTP door, such as https://keys.example.com:8051"
  type        = string
}

variable "account" {
  description = "The account of the key; its policy must have callerDigests"
  type        = string
}

variable "key_id" {
  type = string
}

variable "scopes" {
  type    = list(string)
  default = []
}

variable "token" {
  description = "The token: at least 128 random bits in printable ASCII"
  type        = string
  ephemeral   = true
}

variable "token_version" {
  description = "Raise it to replace the token"
  type        = number
  default     = 1
}

variable "overlap" {
  description = "How long the earlier token stays valid after it is replaced"
  type        = string
  default     = "86400s"
}

resource "terraform_data" "key" {
  input = { api = var.api, key_id = var.key_id }

  provisioner "local-exec" {
    when        = destroy
    interpreter = ["sh", "-euc"]
    environment = {
      API    = self.input.api
      REVOKE = jsonencode({ keyId = self.input.key_id, reason = "destroyed by Terraform" })
    }
    command = <<-EOT
      status=$(printf 'Authorization: Bearer %s' "$AUTHORITY_TOKEN" |
        curl -sS -o /dev/null -w '%%{http_code}' -H @- --json "$REVOKE" "$API/keyauthority.v1.KeyAuthority/RevokeKey")
      test "$status" = 200 || test "$status" = 404 || { echo "RevokeKey: status $status" >&2; exit 1; }
    EOT
  }
}

resource "terraform_data" "token" {
  triggers_replace = [terraform_data.key.id, var.token_version]

  # Only the digest of the token is sent.
  provisioner "local-exec" {
    interpreter = ["sh", "-euc"]
    environment = {
      API    = var.api
      RENEW  = jsonencode({ keyId = var.key_id, overlap = var.overlap, sha256 = base64sha256(var.token) })
      CREATE = jsonencode({ account = var.account, keyId = var.key_id, scopes = var.scopes, sha256 = base64sha256(var.token) })
    }
    # The caller's token comes from the environment, and is in no list of processes.
    command = <<-EOT
      call() {
        printf 'Authorization: Bearer %s' "$AUTHORITY_TOKEN" |
          curl -sS -o /dev/null -w '%%{http_code}' -H @- --json "$2" "$API/keyauthority.v1.KeyAuthority/$1"
      }
      status=$(call RenewKey "$RENEW")
      test "$status" != 404 || status=$(call CreateKey "$CREATE")
      test "$status" = 200 || { echo "the key was not created: status $status" >&2; exit 1; }
    EOT
  }
}

output "token_version" {
  description = "Known when the authority enforces the token"
  value       = var.token_version
  depends_on  = [terraform_data.token]
}
