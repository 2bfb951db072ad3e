"""What our images are made of: bills of materials, licences, and known holes."""
